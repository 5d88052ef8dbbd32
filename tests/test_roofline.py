import sys

import numpy as np
import pandas as pd
import pytest
import torch
from openvino import opset13

from anet_core import complexity, dataflow, deployment, figures, measurements, operators, roofline
from anet_core.rewrites import REWRITES
from conftest import ROOT
from test_rewrites import as_if_trained, export

sys.path.insert(0, str(ROOT / "workflow"))
from deployment import compared_ious, part_of, spread  # noqa: E402

SIDE = 64  # of what export gives


@pytest.fixture(scope="module")
def network():
    return as_if_trained("A-Net")


@pytest.fixture(scope="module")
def profile():
    return operators.profile({"plain": export(rewritten=False)}, ["f32"], 1, np.zeros((1, 3, SIDE, SIDE), np.float32), repetitions=2)


def test_what_multiplies_is_counted_even_in_no_time(network):
    """OpenVINO gives whole microseconds, 0 of what is done sooner."""
    model = export(rewritten=False)
    compiled = deployment.compile_for_cpu(model, "f32", 1)
    none = pd.Series(0.0, [operator.get_friendly_name() for operator in compiled.get_runtime_model().get_ops()])
    rows = operators.executed(model, compiled, none)
    assert rows["macs"].sum() == complexity.true_macs(network, SIDE) and rows["macs"].all()


def test_the_operators_do_the_work_of_the_network(network, profile):
    """Counted in what OpenVINO executes, and by hooks on the modules."""
    assert profile["macs"].sum() == complexity.true_macs(network, SIDE)
    convolutions = {name for name, module in network.named_modules() if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))}
    assert (profile["macs"] > 0).sum() == len(convolutions)
    assert set(profile["stage"]) == set(operators.STAGES)


def test_work_by_stage_is_that_of_the_modules(network, profile):
    layers = complexity.layer_table(network, SIDE)
    by_modules = layers.groupby(layers["name"].map(operators.stage))["true_macs"].sum()
    assert profile.groupby("stage")["macs"].sum().to_dict() == by_modules.to_dict()


def test_stages_are_those_of_the_dataflow(network):
    """But for the jump connection, which stands in a stage of its own here."""
    found = dataflow.stage_table(network, SIDE)["blocks"].iloc[1:]  # the first is the image
    named = [[operators.stage(block) for block in blocks] for blocks in found]
    assert [names[0] for names in named] == [name for name in operators.STAGES if name != "cat"]
    assert all(set(names) - {"cat"} == {names[0]} for names in named)
    with pytest.raises(ValueError, match="'stem.0' is no module of A-Net"):
        operators.stage("stem.0")


def test_work_on_pictures_of_one_row():
    """A kernel of height 2 meets a single row one row of its own at a time; a transposed one meets it whole."""
    rows = opset13.parameter([7, 4, 1, 6], np.float32)  # seven pictures of 4 channels
    plain = opset13.convolution(rows, np.zeros((8, 4, 2, 1), np.float32), [1, 1], [1, 0], [1, 0], [1, 1])  # to (7, 8, 2, 6)
    transposed = opset13.convolution_backprop_data(rows, np.zeros((4, 8, 2, 2), np.float32), [2, 2])  # to (7, 8, 2, 12)
    assert [list(operator.get_output_shape(0)) for operator in (plain, transposed)] == [[7, 8, 2, 6], [7, 8, 2, 12]]
    assert operators.macs(plain) == 7 * 6 * 4 * 8 * 2
    assert operators.macs(transposed) == 7 * 6 * 4 * 8 * 2 * 2


def test_the_rewritten_network_does_more_for_fuller_vectors(profile):
    work, lanes = (sum(map(count, export(rewritten=True).get_ops())) for count in (operators.macs, operators.lane_macs))
    head = 16 * (6 * 6 - 3 * 3) * SIDE**2  # to 16 channels on a sixteenth of the pixels
    picture = 3 * 8 * (4 - 1) * SIDE**2 + 3 * 32 * (4 - 1) * (SIDE // 2) ** 2  # to the channels of 2x2 pixels from those of two; of four, of which two count, to pairs
    light, wide = 8 * 8 * (2 - 1), 8 * 8 * (2 * 5 - 5 + 2 * 3 - 5)  # from pairs to pairs, which lie within three pairs if within five pixels
    assert work - profile["macs"].sum() == head + picture + 2 * (light + wide) * (SIDE // 2) ** 2
    assert lanes < profile["lane_macs"].sum()


def test_bytes_of_a_convolution_are_its_input_output_and_weights(profile):
    first = profile.set_index("module").loc["detail_extraction.0.body.1"].query("macs > 0").iloc[0]
    assert first["macs"] == 3 * 8 * SIDE**2 and first["lane_macs"] == 2 * first["macs"]
    assert first["bytes"] == 4 * (3 * SIDE**2 + 8 * SIDE**2 + 3 * 8 + 8)  # the norm is folded into weights and a bias


def test_matrix_product_is_one():
    left = np.random.default_rng(1).uniform(0, 2, (SIDE, SIDE)).astype(np.float32)
    right = np.random.default_rng(0).uniform(-1, 1, (SIDE, SIDE)).astype(np.float32)
    quantised = np.round(left * 100) / 100 @ (np.round(right * 100) / 100)
    for eight_bits, expected in ((False, left @ right), (True, quantised)):
        compiled = deployment.compile_for_cpu(roofline.product(SIDE, eight_bits), "f32", 1)
        assert np.abs(compiled(left)[0] - expected).max() < 1e-3
        if eight_bits:
            kernels = [operators.info(operator, "primitiveType") for operator in compiled.get_runtime_model().get_ops()]
            assert any(kernel.lower().endswith("i8") for kernel in kernels)


def test_limits_of_this_machine():
    table = roofline.limits(1, repetitions=2, side=SIDE, memory=2**20).set_index("limit")
    assert set(table.index) == {*deployment.native_precisions(), "int8", "memory", "cache", "start"}
    assert (0 < table["p5"]).all() and (table["p5"] <= table["median"]).all() and (table["median"] <= table["p95"]).all()


def test_units_of_the_limits(monkeypatch):
    """By a clock that stops at 2 ms for each call, and at 1 ms for a product beside a change of precision."""
    monkeypatch.setattr(roofline, "timed", lambda function: 2.0)
    monkeypatch.setattr(roofline, "times", lambda compiled, *_: {"product": pd.DataFrame({"convert": [10.0] * 3, "matmul": [1000.0] * 3})})
    assert roofline.copying(4_000_000, 1, 3).tolist() == [4] * 3  # GB/s: 4 MB read and 4 written in 2 ms
    assert roofline.starting(1, 3).tolist() == [20] * 3  # us of one in a hundred operators
    assert roofline.arithmetic("f32", 1, 3, side=100).tolist() == [1] * 3  # GMAC/s: a million in 1 ms


def test_the_chain_that_starts_operators_keeps_its_numbers_from_vanishing():
    """Once they sank to 1e-38 in it, where the start of an operator was measured several times too long on an Intel processor."""
    image = np.random.default_rng(0).normal(size=(1, 16, 8, 8)).astype(np.float32)
    result = deployment.compile_for_cpu(roofline.chain(), "f32", 1)(image)[0]
    assert np.allclose(np.linalg.norm(result, axis=1), np.linalg.norm(image, axis=1), rtol=1e-4)  # 100 roundings of 6e-8 each, and room


def test_bounds_of_a_stage():
    """At 2 GMAC/s and 1 GB/s a microsecond holds 2000 MACs or 1000 bytes."""
    rows = pd.DataFrame([
        {"stage": "S1", "microseconds": 10.0, "macs": 8000, "lane_macs": 16000, "bytes": 1000},  # 4 us allowed, 8 with its vectors
        {"stage": "S1", "microseconds": 10.0, "macs": 0, "lane_macs": 0, "bytes": 6000},  # 6 us
        {"stage": "head", "microseconds": 100.0, "macs": 2000, "lane_macs": 2000, "bytes": 1000},
    ])
    limits = pd.Series({"f32": 2.0, "cache": 1.0, "memory": 0.5, "start": 0.5})
    stages = roofline.bounds(rows, limits, "f32")
    assert list(stages.index) == ["S1", "head"]
    assert stages.loc["S1", ["operators", "gmacs", "lanes", "share", "bound"]].tolist() == [2, 0.4, 50, 50, "arithmetic"]
    assert stages.loc["S1", list(roofline.PARTS)].tolist() == [8, 7, 1, 20 - 8 - 6 - 1]
    assert stages.loc["head", "bound"] == "rest" and stages.loc["head", "share"] == 1
    without = roofline.bounds(rows, limits.drop("start"), "f32")  # as on a machine where it was not measured
    assert without.loc["S1", list(roofline.PARTS)].tolist() == [8, 7, 0, 20 - 8 - 6]
    axes = figures.roofline(stages.assign(network="plain"), limits, "f32")
    x, y = axes.lines[0].get_data()
    assert np.allclose(y, np.minimum(2, x))


def test_of_a_network_measured_twice_on_a_gpu_the_last_row_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(measurements, "RESULTS", tmp_path)
    (tmp_path / "gpu").mkdir()
    (tmp_path / "gpu" / "a-gpu--networks.csv").write_text("model,graph\nA-Net,60\nENet,80\nA-Net,70\n")
    assert {gpu: table["graph"].to_dict() for gpu, table in measurements.gpus().items()} == {"a-gpu": {"ENet": 80, "A-Net": 70}}


def test_a_table_that_is_not_there_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr(measurements, "FOLDER", tmp_path)
    measurements.path("peaks", "a-cpu--quick").write_text("limit\nf32\n")
    with pytest.raises(FileNotFoundError, match='make them with "python workflow/deployment.py"'):
        measurements.machines()
    measurements.path("peaks", "b-cpu").write_text("limit\nint8\n")
    assert measurements.machines() == measurements.machines("peaks") == ["b-cpu"]
    assert measurements.recorded("peaks", "b-cpu")["limit"].tolist() == ["int8"]
    with pytest.raises(FileNotFoundError, match="--only rewrites"):
        measurements.recorded("rewrites", "b-cpu")


def test_parts_are_the_blocks_of_the_first_stage_and_the_other_stages():
    parts = {place: part_of(place) for place in map(deployment.place, export(rewritten=True).get_ops()) if place}
    assert set(parts.values()) == {f"detail_extraction.{i}" for i in range(3)} | (operators.STAGES.keys() - {"S1"})


def test_ious_are_compared_on_the_same_pictures():
    def record(counts):
        images = {f"image {i}": list(c) for i, c in enumerate(counts)}
        pooled = 100 * sum(c[0] for c in counts) / sum(map(sum, counts))
        return {
            "dataset": "toy", "split_seed": 0, "seed": 0, "iou_pooled": pooled, "confusion_images": images,
            "group_images": dict.fromkeys(images, "a"),
        }

    records = {"f32": record([(50, 25, 25), (25, 0, 25)]), "int8": record([(45, 30, 25), (20, 5, 25)])}
    assert list(compared_ious(records, "f32", "f32").values()) == [50, 0, 0, 0]
    assert compared_ious(records, "int8", "f32")["gain"] == pytest.approx(100 * 65 / 150 - 50)


def test_pictures_are_taken_evenly():
    assert spread(250, 100)[[0, -1]].tolist() == [0, 249] and len(set(spread(250, 100))) == 100
    assert spread(8, 20).tolist() == list(range(8))


def test_a_precision_that_costs_too_much_on_one_data_set_is_not_acceptable():
    gains = {"f32": (0.0, 0.0), "bf16": (-0.2, 0.1), "int8": (0.5, -0.4)}
    rows = [("A-Net, rewritten", precision, gain) for precision, pair in gains.items() for gain in pair]
    table = pd.DataFrame([*rows, ("ENet", "f32", 0.0)], columns=["network", "precision", "gain"])
    assert measurements.acceptable(table)["precision"].tolist() == ["f32", "f32", "bf16", "bf16"]


def test_a_table_says_when_the_machine_changed_its_speed():
    calls = pd.DataFrame({"p5_ms": [1.0, 2.0, 3.0], "p95_ms": [1.2, 2.3, 30.0]})  # one network alone was disturbed
    assert measurements.unsteady(calls) == ""
    assert "the 95th percentile of a network's calls is 1.8 times the 5th" in measurements.unsteady(calls.assign(p95_ms=1.8 * calls["p5_ms"]))


def test_a_machine_that_was_measured_before_a_rewrite_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(measurements, "FOLDER", tmp_path)
    applied = [rewrite.__name__ for rewrite in REWRITES]
    for machine, networks in {"new": applied, "between": ["pair_picture", *applied[1:-1]], "old": applied[1:]}.items():
        pd.DataFrame({"network": networks}).to_csv(measurements.path("rewrites", machine))
    assert applied[0] == "pair_first_block" and measurements.conditions("new") == "which take the picture itself, in 8 bits"
    assert measurements.conditions("between") == (
        "which take the picture itself, in 8 bits. "
        f"A-Net rewritten has pair_picture in the place of pair_first_block and is without {applied[-1]}, which came later"
    )
    assert measurements.conditions("old") == "which take values that were scaled before. A-Net rewritten is without pair_first_block, which came later"
    assert measurements.without("timed only") == ""
