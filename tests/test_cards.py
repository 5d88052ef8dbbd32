import json

import pytest

from anet_core import cards, records, weights
from anet_core.statistics import bootstrap_iou_pooled
from data_prep.format import sha256
from data_prep.sources import SOURCES

from conftest import ROOT

WEIGHTS = sorted(path for path in (ROOT / "results" / "weights").glob("*.safetensors") if "--quick--" not in path.name)
STEEL = weights.tuned("neu-inclusion")


def of(weights):
    return records.read(ROOT / "results" / "runs" / f"{weights.stem}.json")


def test_every_weights_file_has_the_card_that_its_record_gives():
    written = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "results" / "weights").glob("*.md")}
    made = {path.with_suffix(".md").name: cards.card(of(path), path) for path in WEIGHTS}
    assert {name: text for name, text in written.items() if "--quick--" not in name} == made, 'run "python -m anet_core.cards"'


def test_a_card_says_what_the_record_and_the_source_say():
    record, text = of(STEEL), cards.card(of(STEEL), STEEL)
    low, high = bootstrap_iou_pooled(record)
    hits, misses, alarms = (sum(counts[k] for counts in record["confusion_images"].values()) for k in range(3))
    for said in (
        f"{record['iou_pooled']:.1f} % (95 % interval {low:.1f} to {high:.1f}, over draws of surfaces)",
        f"| defect pixels that it marks | {100 * hits / (hits + misses):.1f} %",
        f"| marked pixels that are defect | {100 * hits / (hits + alarms):.1f} %",
        f"{record['parameters']:,} parameters", f"learning rate {record['learning_rate']}, ", f"iterations {record['iterations']}, ",
        f"{len(record['iou_images'])} pictures of {len(set(record['group_images'].values()))} surfaces", record["commit"],
        record["versions"]["torch"], sha256(STEEL), record["manifest_sha256"], "Split by surface", "--weights neu-inclusion --out",
        SOURCES["sd-saliency-900"].licence, SOURCES["sd-saliency-900"].page, SOURCES["sd-saliency-900"].citation,
        "Every test picture has a defect", "pictures of 224x224 pixels",
    ):
        assert said in text, said
    assert SOURCES["neu-det"].page not in text


@pytest.mark.parametrize("changes, said", [
    ({"dataset": "neu-inclusion-proposed"}, ["on masks that a program proposed", SOURCES["neu-det"].page, "Split by surface"]),
    ({"dataset": "bolts"}, ["what the masks of bolts mark", "not of a published set"]),
    ({"dataset": "synthetic"}, ["The pictures were drawn by this repository."]),
    ({"seed": 1}, [f"--weights results/weights/{STEEL.name} --out"]),
    ({"confusion_images": {"a": [9, 1, 0], "b": [0, 0, 5], "c": [0, 0, 0]}}, ["on 1 of the 2 test pictures without a defect"]),
])
def test_cards_of_other_runs(changes, said):
    record = of(STEEL) | changes
    ids = record["confusion_images"].keys()
    record |= {"iou_images": dict.fromkeys(ids, 50.0), "group_images": {key: key for key in ids}}
    text = cards.card(record, STEEL)
    assert [sentence for sentence in said if sentence not in text] == [] and "surfaces |" not in text


def test_a_split_by_chance_says_how_much_it_leaks():
    """The overlapping pairs counted again, from the table itself."""
    record = of(STEEL) | {"dataset": "neu-inclusion-random"}
    rows = [line.split(",") for line in (ROOT / "data_prep" / "neu_overlaps.csv").read_text().splitlines()]
    a, b = rows[0].index("a"), rows[0].index("b")
    tested = {f"In_{number}" for number in range(3, 303, 6)}
    record |= {"iou_images": dict.fromkeys(tested, 50.0)}
    seen = {one for row in rows[1:] for one, other in ((row[a], row[b]), (row[b], row[a])) if one in tested and other not in tested}
    seen = {key for key in seen if key.startswith("In_")}
    assert seen and f"Split at random: {len(seen)} of the 50 test pictures overlap" in cards.card(record, STEEL)


def test_weights_without_a_record(tmp_path, capsys):
    assert cards.main(["--results", str(tmp_path)]) == 1
    assert capsys.readouterr() == ("", f"{tmp_path / 'weights'} holds no weights that get a card; train a network first, or give another --results.\n")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a--A-Net--tuned--split0--seed0.safetensors").write_bytes(STEEL.read_bytes())
    assert cards.main(["--results", str(tmp_path)]) == 1
    assert "a--A-Net--tuned--split0--seed0.json is missing, without which nothing is known" in capsys.readouterr().err
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a--A-Net--tuned--split0--seed0.json").write_text(json.dumps(of(STEEL)))
    assert cards.main(["--results", str(tmp_path)]) == 0
    [card] = (tmp_path / "weights").glob("*.md")
    assert capsys.readouterr().out == f"{card}\n" and card.read_text(encoding="utf-8").startswith("# A-Net on neu-inclusion\n")
