import json
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from anet_core import build, predict, records, weights
from anet_core.dataset import load, manifest_sha256
from anet_core.protocol import PROTOCOLS
from anet_core.registry import ABLATION
from anet_core.statistics import bootstrap_iou_pooled, difference
from anet_core.training import evaluate
from data_prep import magnetic_tile, make, neu
from data_prep.whole import whole

from conftest import ROOT

DATA = Path(os.environ.get("ANET_DATA", ""))
STEEL = DATA / neu.SOURCE
WEIGHTS = [path for path in sorted((ROOT / "results" / "weights").glob("*.safetensors")) if not path.name.startswith("synthetic")]
COMMITTED = [path for path in sorted((ROOT / "results").rglob("*.json")) if "--quick--" not in path.name and path.parent.name != "by-chance"]  # by another schema


@pytest.fixture
def record():
    return records.read(next(path for path in COMMITTED if "tuning" in str(path)))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_records_are_whole_and_consistent(path):
    record = records.read(path)
    assert path.stem == records.name_of(record)
    assert len(record["losses"]) == record["iterations"]
    counts = torch.tensor(list(record["confusion_images"].values()))
    assert record["iou_pooled"] == pytest.approx(100 * float(counts[:, 0].sum() / counts.sum()), abs=1e-4)
    assert record["iou_image_mean"] == pytest.approx(sum(record["iou_images"].values()) / len(counts))
    low, high = bootstrap_iou_pooled(record)
    assert low <= record["iou_pooled"] <= high
    if record["protocol"] in PROTOCOLS:
        protocol = PROTOCOLS[record["protocol"]].for_dataset(record["dataset"])
        assert all(record[key] == getattr(protocol, key) for key in records.PROTOCOL_SCHEMA)


def test_no_rate_that_was_tried_is_better_than_the_chosen_one_by_more_than_its_interval():
    tried = [records.read(path) for path in sorted((ROOT / "results" / "tuning" / "runs").glob("*.json"))]
    assert {record["evaluated_on"] for record in tried} == {"held-back"} and len(tried) > 2
    [chosen] = [record for record in tried if record["learning_rate"] == PROTOCOLS["tuned"].learning_rate]
    for record in tried:
        _, low, _ = difference([record], [chosen])
        assert low <= 0


def test_written_and_read_back(record, tmp_path):
    path = tmp_path / "runs" / "a.json"
    records.write(record, path)
    assert records.read(path) == record and [p.name for p in path.parent.iterdir()] == ["a.json"]
    assert list(json.loads(path.read_text())) == sorted(record)


def test_several_that_write_one_file_at_once_each_write_it_whole(tmp_path):
    path = tmp_path / "a.txt"

    def write(letter):
        for _ in range(100):
            with whole(path) as temporary:
                temporary.write_text(50_000 * letter)
            assert len(set(path.read_text())) == 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("change, said", [
    ({"seed": "0"}, "seed is '0'"), ({"colour": 1}, "unknown keys colour"), ({"losses": None}, "losses is None"),
    ({"losses": [0.9, "low"]}, "losses holds 'low'"), ({"losses": [0.9, ""]}, "losses holds ''"),
])
def test_a_wrong_record_is_refused_and_nothing_written(record, tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        records.write(record | change, tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


def test_a_damaged_record_is_named(record, tmp_path):
    path = tmp_path / "a.json"
    for text, said in ((json.dumps(record)[:-40], "not a run's record"), ("[]", "but a list"), ("{}", "lacks batch_size")):
        path.write_text(text)
        with pytest.raises(ValueError) as error:
            records.read(path)
        assert said in str(error.value) and str(path) in str(error.value)


def test_schema_is_described_in_the_readme():
    text = (ROOT / "results" / "README.md").read_text()
    assert [key for key in records.SCHEMA | records.PROTOCOL_SCHEMA if f"`{key}`" not in text] == []


@pytest.mark.parametrize("name", ABLATION)
def test_weights_round_trip(name, tmp_path):
    network = build(name)
    weights.save(network, name, tmp_path / "w.safetensors")
    loaded = weights.load(tmp_path / "w.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), loaded.state_dict().values(), strict=True))
    assert not loaded.training


def test_the_same_weights_are_the_same_bytes(tmp_path):
    """Eight saves: the library would write the three entries of the metadata in another order each time."""
    network, path, seen = build("A-Net:none"), tmp_path / "w.safetensors", set()
    for _ in range(8):
        weights.save(network, "A-Net:none", path, {"size": [60, 70], "white": 4095})
        seen.add(path.read_bytes())
    assert len(seen) == 1 and weights.pictures(path) == {"size": [60, 70], "white": 4095}


def test_bad_weights_are_one_sentence(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match="w.safetensors is no file"):
        weights.load(path)
    weights.save(build("A-Net"), "A-Net:none", path)
    with pytest.raises(ValueError, match="its tensors are another network's"):
        weights.load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="w.safetensors does not say which network it is of"):
        weights.load(path)
    weights.save(build("A-Net"), "A-Net", path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        weights.load(path)


@pytest.mark.skipif(not STEEL.is_dir(), reason="the steel pictures are not under ANET_DATA")
@pytest.mark.parametrize("dataset", ["neu-inclusion", "neu-inclusion-random"])
def test_committed_weights_give_the_recorded_iou_on_steel(tmp_path, dataset):
    """Other processors round otherwise: a pixel whose logit is nearly 0 may change sides."""
    folder, name = make(dataset, tmp_path), records.run_name("A-Net", dataset, "tuned")
    record = records.read(ROOT / "results" / "runs" / f"{name}.json")
    assert manifest_sha256(folder) == record["manifest_sha256"]
    network = weights.load(ROOT / "results" / "weights" / f"{name}.safetensors")
    assert evaluate(network, load(folder, "test"))["iou_pooled"] == pytest.approx(record["iou_pooled"], abs=0.01)


def published(dataset):
    """Id, image and mask of the pictures of a set, as its maker has them; those that a person drew where others are trained on."""
    if dataset == magnetic_tile.NAME:
        return magnetic_tile.samples(DATA / magnetic_tile.SOURCE)
    return neu.samples(dataset.removesuffix(neu.PROPOSED), STEEL)


@pytest.mark.skipif(not (STEEL.is_dir() and (DATA / magnetic_tile.SOURCE).is_dir()), reason="the pictures are not under ANET_DATA")
@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_committed_weights_mark_what_their_record_says(path):
    """On five test pictures; of their 250,000 pixels one or two may change sides where weights were trained on a GPU, on other CPUs none did."""
    record = records.read(ROOT / "results" / "runs" / f"{path.stem}.json")
    network = weights.load(path)
    assert sum(p.numel() for p in network.parameters()) == record["parameters"]
    tested = (sample for sample in published(record["dataset"]) if sample[0] in record["confusion_images"])
    for name, image, mask in islice(tested, 5):
        marked, defect = predict(network, np.asarray(image.convert("RGB"))), np.asarray(mask) == 255
        counts = [(marked & defect).sum(), (~marked & defect).sum(), (marked & ~defect).sum()]
        assert np.abs(np.subtract(counts, record["confusion_images"][name])).sum() <= 10
