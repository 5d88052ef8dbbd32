import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anet_core import dataset
from data_prep import format, synthetic
from data_prep.audit import FAULT, LISTED, NOTE, Finding, agreement, audit, leaked, main, read_manifest, report
from data_prep.overlap import Overlap, read_overlaps, transform

N = 100  # side of the pictures


def texture(seed: int, side: int = N) -> np.ndarray:
    """Grain a few pixels wide, uint8."""
    return synthetic.smooth(np.random.default_rng(seed).integers(0, 256, (side, side)), 2).astype(np.uint8)


def square(height: int = N, width: int = N) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[20:40, 30:50] = 255
    return mask


@pytest.fixture
def make(tmp_path):
    """Writes a data set "set" of ten pictures p0 to p9, some replaced, with p0, p1 and p2 for testing."""

    def make(pictures: dict[int, np.ndarray] = {}, masks: dict[int, np.ndarray] = {}) -> Path:
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        images = [pictures.get(i, texture(i)) for i in range(10)]
        drawn = [masks.get(i, square(*image.shape[:2])) for i, image in enumerate(images)]
        samples = [(f"p{i}", Image.fromarray(image), Image.fromarray(mask)) for i, (image, mask) in enumerate(zip(images, drawn))]
        format.write(tmp_path / "set", samples, test=3)
        rewrite(tmp_path / "set", lambda row: row | {"split": "test" if row["id"] in ("p0", "p1", "p2") else "train"})
        return tmp_path / "set"

    return make


def rewrite(folder: Path, change) -> None:
    rows = [change(row) for row in read_manifest(folder)]
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, format.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def kinds(findings: list[Finding]) -> list[tuple]:
    return [(finding.severity, finding.kind, *finding.ids) for finding in findings]


def test_nothing_is_odd_about_a_clean_set(make, capsys):
    assert audit(make()) == []
    assert main(make()) == 0 and capsys.readouterr().out == "faults: 0, notes: 0\n"


@pytest.mark.parametrize("b, severity", [(1, NOTE), (7, FAULT)])  # p0 and p1 are both for testing, p7 is for training
@pytest.mark.parametrize("k, mirrored", [(0, False), (1, False), (2, True), (3, True)])
def test_a_copy_is_found_any_way_up(make, b, severity, k, mirrored):
    findings = audit(make({b: transform(texture(0), k, mirrored)}))
    assert sorted(kinds(findings)) == [(severity, "copy", "p0", f"p{b}"), (severity, "overlap", "p0", f"p{b}")]


def test_colour_pictures_are_compared_by_their_luminance(make):
    folder = make({5: np.stack([texture(0)] * 3, 2)})
    assert kinds(audit(folder, found=())) == [(FAULT, "copy", "p0", "p5")]


def test_overlapping_cuts_are_faults_only_across_the_split(make):
    surface = texture(20, 200)
    cuts = {2: surface[:N, :N], 3: np.rot90(surface[60:160, 10:110], -1), 4: surface[20:120, 90:190]}
    findings = audit(make(cuts))
    assert kinds(findings) == [(FAULT, "overlap", "p2", "p3"), (NOTE, "overlap", "p3", "p4")]
    said = "p2 (test) and p3 (train, turned by 90 degrees) show the same surface on 36% of a picture"
    assert findings[0].sentence.startswith(said)


def test_pictures_of_two_sizes_are_searched_apart(make):
    surface = texture(21, 200)
    cuts = {0: surface[:80, :80], 9: surface[30:110, 30:110], 1: surface[:N, :N], 8: surface[30:130, :N]}
    findings = audit(make(cuts))
    overlaps = [finding for finding in findings if finding.kind == "overlap"]
    assert kinds(overlaps) == [(FAULT, "overlap", "p0", "p9"), (FAULT, "overlap", "p1", "p8")]
    assert {finding.ids for finding in findings if finding.kind == "odd size"} == {("p0",), ("p9",)}


def test_another_size_is_a_fault_where_training_would_stop(make):
    folder = make({5: texture(5, 90)})
    assert kinds(audit(folder, found=()))[0] == (FAULT, "odd size", "p5")
    with pytest.raises(ValueError, match="p5.png is 90x90"):
        dataset.load(folder, "train")
    folder = make({i: texture(i, 90) for i in range(3)})  # the three that are tested, by themselves
    assert "odd size" not in {finding.kind for finding in audit(folder, found=())} and len(dataset.load(folder, "test").ids) == 3


def spots(*places: tuple[int, int]) -> np.ndarray:
    mask = square()
    for y, x in places:
        mask[y, x] = 255
    return mask


def frame() -> np.ndarray:
    mask = np.full((N, N), 255, np.uint8)
    mask[2:-2, 2:-2] = 0
    return mask


@pytest.mark.parametrize("mask, expected", [
    pytest.param(np.zeros((N, N), np.uint8), [(NOTE, "empty mask", "p4")], id="empty"),
    pytest.param(np.full((N, N), 255, np.uint8), [(FAULT, "full mask", "p4"), (NOTE, "odd defect area", "p4")], id="full"),
    pytest.param(spots((0, 0), (70, 70)), [(NOTE, "one-pixel islands", "p4"), (NOTE, "odd defect area", "p4")], id="two islands"),
    pytest.param(spots((70, 70), (71, 71)), [(NOTE, "odd defect area", "p4")], id="neighbours across a corner"),
    pytest.param(frame(), [(NOTE, "mask at every border", "p4"), (NOTE, "odd defect area", "p4")], id="frame"),
])
def test_odd_masks(make, mask, expected):
    assert kinds(audit(make(masks={4: mask}), found=())) == expected


def test_islands_are_counted(make):
    [island, _] = audit(make(masks={4: spots((0, 0), (70, 70), (70, 72))}), found=())
    assert "p4 has one-pixel islands: 3" in island.sentence


def test_an_area_is_odd_by_the_spread_of_the_others(make):
    """Squares of 9 to 18 pixels a side, but one of 2."""
    masks = {i: np.pad(np.full((s, s), 255, np.uint8), ((0, N - s), (0, N - s))) for i, s in enumerate([*range(9, 18), 2])}
    assert kinds(audit(make(masks=masks), found=())) == [(NOTE, "odd defect area", "p9")]


@pytest.mark.parametrize("picture, expected", [
    pytest.param(np.full((N, N), 90, np.uint8), [(FAULT, "constant picture", "p4")], id="constant"),
    pytest.param(120 + texture(4) // 32, [(NOTE, "low contrast", "p4")], id="eight grey levels"),
    pytest.param(np.where(texture(4) > 140, 255, texture(4)).astype(np.uint8), [(NOTE, "clipped values", "p4")], id="white"),
    pytest.param(np.where(texture(4) < 110, 0, texture(4)).astype(np.uint8), [(NOTE, "clipped values", "p4")], id="black"),
])
def test_odd_values(make, picture, expected):
    assert kinds(audit(make({4: picture}), found=())) == expected


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("breaks, said", [
    (lambda path: path.unlink(), "is missing"),
    (lambda path: path.write_bytes(path.read_bytes()[:60]), "cannot be read"),
    (lambda path: Image.fromarray(square(90, 90)).save(path), "90x90"),
    (lambda path: Image.fromarray(square() // 255 * 254).save(path), ""),
])
def test_a_damaged_file_is_a_fault_that_names_it_and_the_others_are_audited(make, kind, breaks, said):
    folder = make(masks={6: np.zeros((N, N), np.uint8)})
    breaks(folder / kind / "p3.png")
    damaged, empty = audit(folder, found=())
    assert (damaged.severity, damaged.kind, damaged.ids) == (FAULT, "damaged file", ("p3",))
    assert "p3.png" in damaged.sentence and said in damaged.sentence and "\n" not in damaged.sentence
    assert (empty.kind, empty.ids) == ("empty mask", ("p6",))


def test_overlaps_are_told_by_the_manifest_though_a_file_is_missing(make):
    surface = texture(22, 200)
    folder = make({7: surface[:N, :N], 8: surface[20:120, :N]})
    (folder / "images" / "p1.png").unlink()
    assert kinds(audit(folder)) == [(FAULT, "damaged file", "p1"), (NOTE, "overlap", "p7", "p8")]


def test_a_group_on_both_sides_of_the_split_is_a_fault(make):
    folder = make()
    rewrite(folder, lambda row: row | {"group": "p1" if row["id"] in ("p2", "p5") else row["group"]})
    assert kinds(audit(folder)) == [(FAULT, "split group", "p1", "p2", "p5")]


def test_a_side_of_the_split_without_a_picture_is_a_fault(make):
    folder = make()
    rewrite(folder, lambda row: row | {"split": "train"})
    assert [finding.sentence for finding in audit(folder) if finding.kind == "empty side"] == ["No picture for testing is there."]
    rewrite(folder, lambda row: row | {"split": "test" if row["id"] == "p1" else "train", "defect_fraction": "0" if row["id"] == "p1" else "0.1"})
    assert [finding.sentence for finding in audit(folder) if finding.kind == "empty side"] == ["No picture for testing shows a defect."]


def test_without_a_manifest_there_is_nothing_to_audit(make):
    folder = make()
    (folder / "manifest.csv").write_text("id,split\n")
    with pytest.raises(ValueError, match="must have the columns id, split, group"):
        audit(folder)
    (folder / "manifest.csv").unlink()
    with pytest.raises(FileNotFoundError, match="manifest.csv is missing"):
        audit(folder)


def test_exit_code_is_1_for_a_fault_and_0_for_notes(make, capsys):
    assert main(make(masks={4: np.zeros((N, N), np.uint8)})) == 0
    assert capsys.readouterr().out == "note: empty mask (1)\n  The mask of p4 marks no defect.\nfaults: 0, notes: 1\n"
    folder = make({9: texture(20, 200)[:N, :N], 2: texture(20, 200)[30:130, :N]})
    assert main(folder, search=False) == 0
    assert main(folder) == 1
    assert "fault: overlap (1)\n  p2 (test) and p9 (train)" in capsys.readouterr().out


def test_a_report_counts_all_and_lists_some():
    findings = [Finding(NOTE, "overlap", (f"p{i}",), f"sentence {i}") for i in range(LISTED + 5)]
    text = report(findings)
    assert f"overlap ({LISTED + 5})" in text and "and 5 more" in text and f"notes: {LISTED + 5}" in text
    assert Counter(line.startswith("  sentence") for line in text.splitlines())[True] == LISTED


def test_leaked_are_the_test_pictures_that_overlap_a_training_picture():
    rows = [{"id": name, "split": split} for name, split in zip("abcde", ("train", "test", "test", "test", "train"))]
    pairs = [Overlap(a, b, 0, False, 0, 0, 0.5, 0.99) for a, b in ((0, 1), (1, 2), (3, 4), (0, 4))]
    assert leaked(rows, pairs) == {"b", "d"}


def test_a_table_of_overlaps_is_read_for_some_of_its_pictures(tmp_path):
    (tmp_path / "table.csv").write_text(
        "a,b,quarter_turns,mirrored,dy,dx,share,correlation\n"
        "x,y,0,False,1,2,0.5,0.97\ny,z,3,True,-7,0,0.25,0.99\nw,z,0,False,1,1,0.5,0.96\n"
    )
    assert read_overlaps(tmp_path / "table.csv", ["z", "x", "y"]) == [
        Overlap(1, 2, 0, False, 1, 2, 0.5, 0.97), Overlap(2, 0, 3, True, -7, 0, 0.25, 0.99),
    ]
    assert [(pair.dy, pair.dx) for pair in read_overlaps(tmp_path / "table.csv", ["z", "x", "y"], 1.5)] == [(2, 3), (-10, 0)]


def test_masks_of_one_surface_are_compared_where_they_show_the_same():
    a, cut = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
    a[30:40, 10:30] = a[:5] = True  # the band at the top lies outside of what is shared
    cut[20:35, 30:50] = True  # on a: rows 30 to 45, columns 10 to 30
    pair = Overlap(0, 1, 1, True, 10, -20, 1, 1)
    assert agreement(a, np.rot90(cut, -1)[:, ::-1], pair) == (200, 300)
