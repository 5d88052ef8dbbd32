from dataclasses import replace

import pytest
import torch
from torch import nn

from anet_core import build, predict, recalibration, records
from anet_core.dataset import load
from anet_core.protocol import QUICK
from anet_core.recalibration import recalibrated
from anet_core.run import run


@pytest.fixture
def images():
    return torch.randint(256, (6, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def norms(network):
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def test_what_the_norms_remembered_has_no_part_in_it_and_the_weights_stay(images):
    network = build("A-Net").eval()
    forgetful = build("A-Net").eval()
    forgetful.load_state_dict(network.state_dict())
    for norm in norms(forgetful):
        norm.running_mean += 1
        norm.running_var *= 100
    before = {key: value.clone() for key, value in forgetful.state_dict().items()}
    found = [recalibrated(one, images) for one in (network, forgetful)]
    assert all(a.equal(b) for a, b in zip(*(one.state_dict().values() for one in found)))
    assert all(forgetful.state_dict()[key].equal(value) for key, value in before.items())
    assert all(a.equal(b) for a, b in zip(network.parameters(), found[0].parameters()))


def test_the_first_norms_are_told_what_they_see_in_a_test(images):
    """The first to the digit; those behind it divide by the deviation of a sample, n - 1, where telling it divided by that of all."""
    torch.manual_seed(0)
    network, seen = recalibrated(build("ENet"), images), []
    for norm in norms(network):
        norm.register_forward_hook(lambda norm, x, _: seen.append((norm, x[0].mean((0, 2, 3)), x[0].var((0, 2, 3)))))
    predict(network, images.permute(0, 2, 3, 1).numpy())
    for i, (norm, mean, variance) in enumerate(seen[:10]):
        torch.testing.assert_close(mean / norm.running_var.sqrt(), norm.running_mean / norm.running_var.sqrt(), rtol=0, atol=0.05 if i else 1e-4)
        torch.testing.assert_close(variance, norm.running_var, rtol=0.05 if i else 1e-4, atol=0)


def test_a_run_is_tested_again_under_its_name(squares, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recalibration, "locate", lambda name: squares)
    record = run("A-Net", squares, replace(QUICK, iterations=3, batch_size=4), results=tmp_path, progress=False)
    name = records.name_of(record)
    assert recalibration.main([name, "--results", str(tmp_path)]) == 0
    again = records.read(tmp_path / "recalibrated" / "runs" / f"{name}.json")
    assert again["losses"] == record["losses"] and again["confusion_images"].keys() == record["confusion_images"].keys()
    assert records.read(tmp_path / "runs" / f"{name}.json") == record
    capsys.readouterr()
    assert recalibration.main(["no-run", "--results", str(tmp_path)]) == 1
    assert "no-run" in (said := capsys.readouterr().err) and said.count("\n") == 1
    records.write(record | {"manifest_sha256": "0" * 64}, tmp_path / "runs" / f"{name}.json")
    assert recalibration.main([name, "--results", str(tmp_path)]) == 1
    assert "was made from other data than" in (said := capsys.readouterr().err) and said.count("\n") == 1


def test_pictures_whose_sides_are_no_multiples_of_32_are_padded_as_in_training(squares, tmp_path, monkeypatch):
    samples = load(squares, "train")
    odd = replace(samples, images=samples.images[:, :40, :50], masks=samples.masks[:, :40, :50])
    monkeypatch.setattr(recalibration, "load", lambda *_: odd)
    monkeypatch.setattr(recalibration, "locate", lambda name: squares)
    record = run("A-Net", squares, replace(QUICK, iterations=1, batch_size=4), results=tmp_path, progress=False)
    assert recalibration.tested_again(records.name_of(record), tmp_path)["iou_images"].keys() == set(odd.ids)
