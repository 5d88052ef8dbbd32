import copy
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from anet_core import build, predict, records, step, training, weights
from anet_core import run as running
from anet_core.command import main
from anet_core.dataset import Samples, load, manifest_sha256
from anet_core.fast_backward import fast_backward
from anet_core.loss import segmentation_loss
from anet_core.prediction import normalise
from anet_core.protocol import PRINTED, PROTOCOLS, QUICK, TUNED, protocol
from anet_core.run import hold_back, run
from anet_core.step import batch_indices, draw_poses, drawn, posed
from anet_core.training import evaluate, to_tensors, train
from data_prep import format

from conftest import ROOT, draw

SHORT = replace(QUICK, name="short", iterations=6, batch_size=4)


def test_the_printed_protocol_is_section_iv_a_2():
    assert (PRINTED.learning_rate, PRINTED.momentum, PRINTED.weight_decay) == (0.0003, 0.9, 0.0001)
    assert (PRINTED.iterations, PRINTED.batch_size, PRINTED.for_dataset("dagm-class7").batch_size) == (2000, 16, 4)
    assert PRINTED.for_dataset("synthetic-dagm").batch_size == 4 and PRINTED.for_dataset("synthetic") == PRINTED
    assert {PRINTED.learning_rate_at(t) for t in (0, 1, 999, 1999)} == {0.0003}
    assert (TUNED.iterations, TUNED.batch_size) == (PRINTED.iterations, PRINTED.batch_size)


def test_the_tuned_rate_rises_and_falls():
    rates = [TUNED.learning_rate_at(t) for t in range(TUNED.iterations)]
    peak = int(np.argmax(rates))
    assert peak == TUNED.warmup_iterations - 1
    assert rates[:peak] == sorted(rates[:peak]) and rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 0 < rates[-1] < 0.01 * rates[peak]


def test_unknown_protocol_lists_the_known_ones():
    with pytest.raises(ValueError) as error:
        protocol("best")
    assert "'best'" in str(error.value) and all(name in str(error.value) for name in PROTOCOLS)


def test_each_epoch_sees_every_image_once():
    order = [i for t in range(25) for i in batch_indices(t, batch_size=4, images=10, seed=3)]
    for epoch in range(10):
        assert sorted(order[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert order[:10] != order[10:20]


@pytest.mark.parametrize("height, width, symmetries", [(8, 8, 8), (8, 4, 4)])
def test_augmentation_moves_image_and_mask_alike(height, width, symmetries):
    torch.manual_seed(0)
    mask = torch.arange(height * width).reshape(1, height, width)
    image = mask.repeat(3, 1, 1)
    moved = [(posed(image, pose), posed(mask, pose)) for pose in draw_poses(200, mask)]
    assert all(torch.equal(a, b.expand_as(image)) and b.shape == mask.shape for a, b in moved)
    assert len({tuple(b.flatten().tolist()) for _, b in moved}) == symmetries
    for pose in range(symmetries):  # what the recorded runs were trained on
        turned = np.rot90(image.numpy(), pose // 2 * (1 if height == width else 2), (1, 2))
        assert np.array_equal(posed(image, pose).numpy(), turned[:, :, ::-1] if pose % 2 else turned)


@pytest.mark.parametrize("channels, pixels", [(8, 8), (3, 5), (16, 4)])  # the pixels of the middle one do not divide by any other number
def test_fast_backward_has_the_same_values_and_gradients(channels, pixels):
    network = nn.Sequential(nn.Conv2d(3, channels, 1), nn.BatchNorm2d(channels), nn.PReLU(), nn.Conv2d(channels, 1, 1)).double().train()
    for vector in network[1].parameters():
        nn.init.normal_(vector)
    x = torch.randn(1, 3, pixels, 7, dtype=torch.float64, requires_grad=True)
    results = []
    for fast in (True, False):
        copied = copy.deepcopy(network)
        with fast_backward(copied) if fast else nullcontext():
            y = copied(x)
            assert ("forward" in vars(copied[1])) == (fast and channels < 16)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, *copied.parameters()]), *copied.buffers()])
        assert not any("forward" in vars(module) for module in copied)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_norm_without_weights_or_averages_stays_torchs_own():
    network = nn.Sequential(nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4, track_running_stats=False))
    with fast_backward(network):
        assert not any("forward" in vars(module) for module in network)


def test_a_seed_repeats_bit_for_bit_and_another_does_not(squares):
    samples = load(squares, "train")
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        network = build("A-Net")
        train(network, samples, SHORT, seed, progress=False)
        weights.append(torch.cat([p.flatten() for p in network.parameters()]))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_training_is_gradient_descent_with_momentum_and_weight_decay(squares, monkeypatch):
    """Written out: v becomes momentum * v + gradient + decay * w, then w becomes w - rate * v, at the rate of each iteration."""
    samples, settings = load(squares, "train"), replace(TUNED, iterations=4, warmup_iterations=2, batch_size=4, weight_decay=0.1)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.PReLU(), nn.Conv2d(4, 1, 1))  # no norm, which makes much of rounding
    by_hand, velocity = copy.deepcopy(network), {}
    monkeypatch.setattr(training, "has_bf16", lambda device: False)
    losses, _ = train(network, samples, settings, seed=3, progress=False)
    images, masks = to_tensors(samples)
    for t, expected in enumerate(losses):
        image, mask = drawn(images, masks, *step.draw(t, 4, images, 3))
        by_hand.zero_grad()
        loss = segmentation_loss(by_hand(normalise(image)), mask, "image")
        loss.backward()
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        with torch.no_grad():
            for name, w in by_hand.named_parameters():
                velocity[name] = 0.9 * velocity.get(name, 0) + w.grad + 0.1 * w
                w -= (0.05, 0.1 * 0.75**0.9, 0.1 * 0.5**0.9, 0.1 * 0.25**0.9)[t] * velocity[name]
    for name, w in by_hand.named_parameters():
        torch.testing.assert_close(network.get_parameter(name), w, rtol=1e-4, atol=1e-6)


def test_another_seed_draws_other_poses_and_the_same_one_the_same():
    images = torch.zeros(100, 3, 4, 4)
    drawings = [step.draw(0, 32, images, seed) for seed in (0, 0, 1)]
    assert drawings[0] == drawings[1] and all(a != b for a, b in zip(drawings[0], drawings[2]))


def test_pictures_and_masks_are_padded_alike():
    masks = np.random.default_rng(0).random((2, 40, 50)) < 0.5
    images = np.repeat(255 * masks[..., None].astype(np.uint8), 3, axis=3)
    padded, marked = to_tensors(Samples(("a", "b"), ("a", "b"), images, masks))
    assert padded.shape[2:] == (64, 64) and torch.equal(padded / 255, marked.expand(-1, 3, -1, -1))


def test_it_learns(squares):
    """Dark squares on grey are easy: a short run finds most of them."""
    torch.manual_seed(0)
    network = build("A-Net")
    losses, _ = train(network, load(squares, "train"), replace(QUICK, iterations=60, batch_size=6), seed=0, progress=False)
    assert losses[-1] < losses[0] / 2
    assert evaluate(network, load(squares, "test"))["iou_pooled"] > 50


def test_a_training_that_diverges_ends_there(squares, tmp_path, capsys, monkeypatch):
    """What follows a loss that is no number is not trained, and counts as the same; who asked for it is told."""
    monkeypatch.setitem(PROTOCOLS, "quick", replace(SHORT, name="quick", learning_rate=1e38))
    record = run("A-Net", squares, PROTOCOLS["quick"], results=tmp_path)
    where = records.diverged(record)
    assert where > 1 and len(record["losses"]) == SHORT.iterations and np.isnan(record["losses"][where - 1 :]).all()
    shown = capsys.readouterr().out
    assert f"{where - 1}/{SHORT.iterations}" in shown.split("\r")[-1] and shown.endswith("\n") and record["iou_pooled"] == 0
    assert not list(tmp_path.glob("weights/*")) and "NaN" not in next(tmp_path.glob("runs/*")).read_text()
    assert main(["train", "--dataset", str(squares), "--protocol", "quick", "--results", str(tmp_path)]) == 1
    assert f"diverged: from iteration {where} on" in capsys.readouterr().err


def test_a_loss_beyond_all_numbers_is_none_either(squares):
    """JSON has no infinity, and the weights are no numbers one iteration later."""
    losses, _ = train(nn.Conv2d(3, 1, 1), load(squares, "train"), replace(SHORT, learning_rate=1e38, warmup_iterations=0), 0, progress=False)
    assert np.isfinite(losses[0]) and np.isnan(losses[1:]).all() and len(losses) == SHORT.iterations


def test_sizes_that_are_no_multiples_of_32(tmp_path):
    folder = draw(tmp_path / "odd", width=70, height=50)
    torch.manual_seed(0)
    network = build("A-Net")
    train(network, load(folder, "train"), SHORT, seed=0, progress=False)
    test = load(folder, "test")
    result = evaluate(network, test)
    assert list(result["iou_images"]) == list(test.ids)
    assert all(sum(counts) <= 50 * 70 for counts in result["confusion_images"].values())


@pytest.mark.parametrize("height, width", [(1, 1), (7, 40), (33, 64), (100, 31)])
def test_predict_takes_any_size(height, width):
    network = build("A-Net")
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    mask = predict(network, image)
    assert mask.shape == (height, width) and mask.dtype == bool
    assert network.training
    assert np.array_equal(mask, predict(network, image))


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)], ids=["grey", "float", "empty"]
)
def test_predict_says_what_it_takes(image):
    with pytest.raises(ValueError, match="give uint8"):
        predict(build("A-Net"), image)


def test_predict_adds_nothing_where_nothing_is_to_pad():
    network = build("A-Net").eval()
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    with torch.inference_mode():
        logits = network(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1)
    assert np.array_equal(predict(network, image), logits[0, 0].numpy() > 0)


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from anet_core import training
from anet_core.protocol import QUICK
from anet_core.run import run
training.CHECKPOINT_EVERY["cpu"] = 3
run("A-Net", Path(sys.argv[1]), replace(QUICK, name="killed", iterations=30, batch_size=4), results=Path(sys.argv[2]))
"""


def test_killed_run_resumes_to_the_same_weights(squares, tmp_path):
    """A real SIGKILL after the first checkpoint; the resumed run ends bit-equal to one left alone."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def start(results):
        return subprocess.Popen([sys.executable, "-c", KILLED, str(squares), str(results)], env=environment, stdout=subprocess.DEVNULL)

    killed, alone = tmp_path / "killed", tmp_path / "alone"
    process = start(killed)
    deadline = time.monotonic() + 120
    while not list(killed.glob("checkpoints/*.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(killed.glob("checkpoints/*.pt")) and not list(killed.glob("runs/*")) and not list(killed.glob("weights/*"))
    for results in (killed, alone):
        assert start(results).wait() == 0
    name = records.run_name("A-Net", "squares", "killed")
    assert (killed / "weights" / f"{name}.safetensors").read_bytes() == (alone / "weights" / f"{name}.safetensors").read_bytes()
    resumed, straight = (records.read(folder / "runs" / f"{name}.json") for folder in (killed, alone))
    assert resumed["losses"] == straight["losses"] and resumed["confusion_images"] == straight["confusion_images"]
    assert [path.suffix for path in killed.glob("checkpoints/*")] == [".claim"]  # which holds nothing but a lock


def test_a_checkpoint_of_other_settings_is_refused(squares, tmp_path):
    checkpoint = tmp_path / "run.pt"
    samples = load(squares, "train")
    train(build("A-Net"), samples, replace(SHORT, iterations=50), 0, checkpoint=checkpoint, progress=False)
    with pytest.raises(ValueError, match="run.pt belongs to a run of another network, or with other settings or data"):
        train(build("A-Net"), samples, SHORT, 0, checkpoint=checkpoint, progress=False)
    for other in ("A-Net:none", "A-Net:sum-last"):  # with other weights, and with the same
        with pytest.raises(ValueError, match="run.pt belongs to a run of another network"):
            train(build(other), samples, replace(SHORT, iterations=50), 0, checkpoint=checkpoint, progress=False)


def test_a_linked_data_set_keeps_its_own_name_and_its_weights_know_its_size(squares, tmp_path):
    link = tmp_path / "linked"
    link.symlink_to(squares)
    assert run("A-Net:none", link, SHORT, results=tmp_path, progress=False)["dataset"] == "linked"
    [file] = (tmp_path / "weights").iterdir()
    assert file.name.startswith("linked--") and weights.pictures(file) == {"size": list(load(link, "train").masks.shape[1:])}


def test_an_empty_manifest_is_one_sentence(squares, tmp_path):
    manifest = squares / "manifest.csv"
    manifest.write_text(manifest.read_text().splitlines(keepends=True)[0])
    with pytest.raises(ValueError, match="manifest.csv lists no picture; write it again"):
        run("A-Net", squares, SHORT, results=tmp_path, progress=False)


def test_a_set_with_proposed_masks_is_run_on_its_own_split_alone(squares, tmp_path):
    link = tmp_path / "neu-patches-proposed"
    link.symlink_to(squares)
    with pytest.raises(ValueError, match="neu-patches-proposed has masks that no person drew"):
        run("A-Net", link, SHORT, split_seed=1, results=tmp_path, progress=False)


def test_a_checkpoint_of_other_data_or_cut_short_is_refused(squares, tmp_path):
    checkpoint = tmp_path / "run.pt"
    samples = load(squares, "train")
    settings = replace(SHORT, iterations=50)
    train(build("A-Net"), samples, settings, 0, checkpoint=checkpoint, progress=False)
    with pytest.raises(ValueError, match="run.pt belongs to a run of another network, or with other settings or data"):
        train(build("A-Net"), replace(samples, masks=~samples.masks), settings, 0, checkpoint=checkpoint, progress=False)
    for kept in (0, 1000, 100_000):
        whole = checkpoint.read_bytes()
        (tmp_path / "cut.pt").write_bytes(whole[:kept])
        with pytest.raises(ValueError, match="cut.pt is damaged"):
            train(build("A-Net"), samples, settings, 0, checkpoint=tmp_path / "cut.pt", progress=False)


def test_the_seconds_of_earlier_tries_are_counted(squares, tmp_path):
    checkpoint, samples, settings = tmp_path / "run.pt", load(squares, "train"), replace(SHORT, iterations=52)
    train(nn.Conv2d(3, 1, 1), samples, settings, 0, checkpoint=checkpoint, progress=False)
    state = torch.load(checkpoint)
    assert len(state["losses"]) == 50
    torch.save(state | {"seconds": 1000.0}, checkpoint)
    _, seconds = train(nn.Conv2d(3, 1, 1), samples, settings, 0, checkpoint=checkpoint, progress=False)
    assert 1000 < seconds < 1060


def test_held_back_training_images_are_tested_instead_and_no_weights_kept(tmp_path):
    folder = draw(tmp_path / "squares", images=70, width=32, height=32)
    with pytest.raises(ValueError, match="6 training images are too few to hold 50"):
        run("A-Net", draw(tmp_path / "few"), SHORT, results=tmp_path, held_back=True, progress=False)
    record = run("A-Net:none", folder, replace(SHORT, iterations=1), results=tmp_path, held_back=True, progress=False)
    assert len(record["iou_images"]) == 50 and record["evaluated_on"] == "held-back" and not list(tmp_path.glob("weights/*"))
    assert not set(record["iou_images"]) & set(load(folder, "test").ids)
    for how, said in (({}, "evaluated_on held-back, where test"), ({"held_back": True, "rate": 7.0}, "learning_rate 0.1, where 7.0")):
        settings = replace(SHORT, iterations=1, learning_rate=how.pop("rate", SHORT.learning_rate))
        with pytest.raises(ValueError, match=f"is of a run with {said} is asked for; delete the record"):
            run("A-Net:none", folder, settings, results=tmp_path, progress=False, **how)


def test_a_record_names_the_data_that_were_trained_on(tmp_path, monkeypatch):
    folder = draw(tmp_path / "squares")
    before = manifest_sha256(folder)

    def trained(*_, **__):
        format.index(folder, split_seed=1)
        return [0.5], 0.0

    monkeypatch.setattr(running, "train", trained)
    assert run("A-Net", folder, replace(SHORT, iterations=1), results=tmp_path, progress=False)["manifest_sha256"] == before
    with pytest.raises(ValueError, match="made from other data"):
        run("A-Net", folder, replace(SHORT, iterations=1), results=tmp_path, progress=False)


def test_evaluation_is_of_each_picture_in_order_however_many_there_are(tmp_path):
    samples = load(draw(tmp_path / "squares", images=60, width=32, height=32), "test")
    torch.manual_seed(0)
    network = build("A-Net")
    found = evaluate(network, samples)
    alone = [evaluate(network, samples.take(np.array([i]))) for i in range(len(samples.ids))]
    assert tuple(found["iou_images"]) == samples.ids and len(samples.ids) == 15  # no multiple of how many are evaluated at once
    for key in ("confusion_images", "iou_images"):
        assert found[key] == {name: value for one in alone for name, value in one[key].items()}


def test_the_batch_is_that_of_the_data_set(squares, tmp_path):
    link = tmp_path / "dagm-class7"
    link.symlink_to(squares)
    assert run("A-Net:none", link, replace(SHORT, iterations=1, batch_size=5), results=tmp_path, progress=False)["batch_size"] == 4


@pytest.mark.parametrize("seeds", [{"seed": -1}, {"split_seed": -1}, {"seed": 2**32}])
def test_a_seed_out_of_range_is_refused(squares, tmp_path, seeds):
    with pytest.raises(ValueError, match="the seed is .*; give a whole number from 0 to 4294967295"):
        run("A-Net", squares, SHORT, **seeds, results=tmp_path)


def test_what_is_held_back_is_not_trained_on():
    names = tuple(f"{i:02}" for i in range(70))
    masks = np.zeros((70, 32, 32), bool)
    masks[::2, 0] = True
    rest, held = hold_back(Samples(names, names, np.zeros((70, 32, 32, 3), np.uint8), masks))
    assert len(held.ids) == 50 and sorted(rest.ids + held.ids) == list(names)


def test_a_record_is_of_its_weights_on_the_test_pictures(squares, tmp_path):
    record = run("A-Net", squares, SHORT, results=tmp_path, progress=False)
    test = load(squares, "test")
    network = weights.load(tmp_path / "weights" / f"{records.name_of(record)}.safetensors")
    marked = predict(network, test.images)
    expected = [[(a & b).sum(), (~a & b).sum(), (a & ~b).sum()] for a, b in zip(marked, test.masks)]
    assert record["confusion_images"] == {name: list(map(int, counts)) for name, counts in zip(test.ids, expected)}


def test_a_run_on_another_split_is_tested_on_its_own_pictures(tmp_path):
    folder = draw(tmp_path / "squares", images=16)
    record = run("A-Net", folder, replace(SHORT, iterations=1), split_seed=1, results=tmp_path, progress=False)
    tested = load(folder, "test", 1).ids
    assert set(record["confusion_images"]) == set(tested) != set(load(folder, "test").ids)


def test_a_seed_is_also_that_of_the_first_weights(squares, tmp_path):
    still = replace(SHORT, iterations=1, learning_rate=0.0)
    record = run("A-Net", squares, still, seed=5, results=tmp_path, progress=False)
    torch.manual_seed(5)
    first = build("A-Net")
    kept = weights.load(tmp_path / "weights" / f"{records.name_of(record)}.safetensors")
    assert all(torch.equal(w, kept.get_parameter(name)) for name, w in first.named_parameters())


def test_a_set_without_a_defect_to_test_on_is_refused(squares, tmp_path):
    tested = [row["id"] for row in format.read_manifest(squares) if row["split"] == "test"]
    for name in tested:
        path = squares / "masks" / f"{name}.png"
        Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    format.index(squares)
    with pytest.raises(ValueError, match="no picture of .*squares to test on shows a defect"):
        run("A-Net", squares, SHORT, results=tmp_path, progress=False)


def test_a_recorded_run_is_read_and_not_run_again(squares, tmp_path):
    first = run("A-Net", squares, SHORT, results=tmp_path, progress=False)
    path = tmp_path / "runs" / f"{records.run_name('A-Net', 'squares', 'short')}.json"
    written = path.stat().st_mtime_ns
    assert run("A-Net", squares, SHORT, results=tmp_path, progress=False) == first
    assert path.stat().st_mtime_ns == written
    manifest = squares / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",test,", ",train,", 1))
    with pytest.raises(ValueError, match="made from other data"):
        run("A-Net", squares, SHORT, results=tmp_path, progress=False)


@pytest.mark.parametrize("arguments, said", [
    (["--dataset", "synthetic", "--model", "B-Net"], "unknown network 'B-Net'; known: FCN"),
    (["--dataset", "synthetic", "--protocol", "best"], "unknown protocol 'best'; known: printed"),
    (["--dataset", "rust"], "unknown data set 'rust'; known: synthetic"),
    (["--dataset", "synthetic", "--results", "/proc/x"], "/proc/x cannot be written to (No such file or directory); give another folder of results."),
])
def test_command_line_errors_are_one_sentence(arguments, said, tmp_path, capsys):
    assert main(["train", "--results", str(tmp_path), *arguments]) == 1
    captured = capsys.readouterr()
    assert said in captured.err and "Traceback" not in captured.err
    assert not list(tmp_path.rglob("*.*"))
