import csv
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anet_core import dataset
from data_prep import format, locate, make, neu, splits, synthetic
from data_prep.__main__ import main
from data_prep.audit import audit

from conftest import ROOT

STEEL = Path(os.environ.get("ANET_DATA", "")) / neu.SOURCE


@pytest.fixture
def source(tmp_path):
    """A folder laid out as SD-saliency-900, its pictures drawn."""
    folder = tmp_path / neu.SOURCE
    rng = np.random.default_rng(0)
    for part in ("Source Images", "Ground truth"):
        (folder / part).mkdir(parents=True)
    for i in range(1, neu.IMAGES + 1):
        Image.fromarray(rng.integers(0, 256, (200, 200)).astype(np.uint8)).save(folder / "Source Images" / f"In_{i}.bmp")
        Image.fromarray(np.where(rng.random((200, 200)) < 0.1, 255, 0).astype(np.uint8)).save(folder / "Ground truth" / f"In_{i}.png")
    return folder


def test_synthetic_pixels_are_the_same_everywhere():
    digest = hashlib.sha256()
    for name, image, mask in synthetic.samples():
        digest.update(name.encode() + image.tobytes() + mask.tobytes())
    assert digest.hexdigest() == "bcd316a04412f77284fb35d86952c3c1176bdeafebd189516f9c4cb01ccf45d3"


def test_neu_from_the_published_layout(source, tmp_path):
    folder = make("neu-inclusion", tmp_path / "data", source)
    rows = dataset.read_manifest(folder)
    assert [row["id"] for row in rows[:11]] == [f"In_{i}" for i in range(1, 12)]
    assert [sum(row["split"] == split for row in rows) for split in ("train", "test")] == [250, 50]
    samples = dataset.load(folder, "test")
    assert samples.images.shape == (50, 224, 224, 3) and samples.images.dtype == np.uint8
    assert samples.masks.shape == (50, 224, 224) and samples.masks.dtype == bool
    assert (samples.images[..., 0] == samples.images[..., 2]).all()
    fractions = {row["id"]: float(row["defect_fraction"]) for row in rows}
    assert [fractions[i] for i in samples.ids] == pytest.approx(samples.masks.mean((1, 2)).tolist(), abs=1e-6)


@pytest.mark.skipif(not STEEL.is_dir(), reason="the steel pictures are not under ANET_DATA")
def test_real_steel(tmp_path):
    folder = make("neu-scratches", tmp_path)
    samples = dataset.load(folder, "test")
    assert samples.masks.any((1, 2)).all()
    expected = "0e1966b44c6e02a41645a9684b262fb41ee4abb5959072329ce5d32a5d62c86f"
    assert dataset.manifest_sha256(folder) == expected


def test_same_split_each_time(tmp_path):
    first, second = make("synthetic", tmp_path / "a"), make("synthetic", tmp_path / "b")
    assert dataset.manifest_sha256(first) == dataset.manifest_sha256(second)
    assert set(dataset.load(first, "train").ids).isdisjoint(dataset.load(first, "test").ids)


def test_another_split_seed_draws_as_many_other_test_images(squares):
    own, other = dataset.load(squares, "test"), dataset.load(squares, "test", split_seed=1)
    assert len(own.ids) == len(other.ids) and own.ids != other.ids


def rows_of(*sizes: int, defect: float = 0.1) -> list[dict]:
    """Manifest rows of groups of these sizes, with a defect or without."""
    return [{"id": f"{defect}-{g}-{i}", "group": f"{defect}-{g}", "defect_fraction": defect} for g, size in enumerate(sizes) for i in range(size)]


def for_testing(rows: list[dict], test: int, seed: int = 0) -> list[dict]:
    return [row for row in splits.split(rows, test, seed) if row["split"] == "test"]


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_never_parted_and_the_number_of_test_images_is_kept(seed):
    rows = rows_of(9, 7, 7, 4, 4, 1, 1)
    test = for_testing(rows, 12, seed)
    assert len(test) == 12
    assert all(sum(row["group"] == other["group"] for other in rows) == [t["group"] for t in test].count(row["group"]) for row in test)


def test_pictures_without_a_defect_are_tested_in_their_share():
    test = for_testing(rows_of(*[1] * 40) + rows_of(*[1] * 80, defect=0), 30)
    assert [sum(not row["defect_fraction"] for row in test), len(test)] == [20, 30]


def test_groups_that_cannot_make_up_the_number_are_refused():
    with pytest.raises(ValueError, match="make up 5 test images with a defect on both sides of the split; ask for another"):
        splits.split(rows_of(3, 3, 3), 5, 0)
    with pytest.raises(ValueError, match="make up 1 test images; ask for another"):
        splits.split(rows_of(3), 1, 0)
    with pytest.raises(ValueError, match="make up 12 test images; ask for another"):  # the only defects would all be tested on
        splits.split(rows_of(12) + rows_of(*[1] * 10, defect=0), 12, 0)
    with pytest.raises(ValueError, match="make up 4 test images with a defect on both sides"):
        splits.split(rows_of(6, 6) + rows_of(*[4] * 30, defect=0), 4, 0)


@pytest.mark.parametrize("sizes, sound, test", [((2,) * 5, (1, 1), 4), ((1, 1), [1] * 58, 10), ((1, 1), [1] * 58, 50), ((2, 3), [2] * 90, 8), ((6, 6), [6] * 28, 6)])
def test_both_sides_get_a_defect_where_two_groups_have_one(sizes, sound, test):
    rows = rows_of(*sizes) + rows_of(*sound, defect=0)
    for seed in range(5):
        drawn = splits.split(rows, test, seed)
        assert {row["split"] for row in drawn if row["defect_fraction"]} == {"train", "test"}
        assert sum(row["split"] == "test" for row in drawn) == test


@pytest.mark.parametrize("name", neu.PREFIXES)
def test_the_steel_classes_are_split_by_surfaces(name):
    joined = neu.surface_groups(name)
    ids = neu.ids(name)
    for seed in range(6):
        rows = [{"id": key, "group": joined[key], "defect_fraction": 0.1} for key in ids]
        test = {row["id"] for row in for_testing(rows, neu.TEST, seed)}
        assert len(test) == neu.TEST
        with neu.OVERLAPS.open() as table:
            pairs = [(row["a"], row["b"]) for row in csv.DictReader(table) if row["a"] in joined]
        assert pairs and all((a in test) == (b in test) for a, b in pairs)


def test_a_failure_leaves_nothing_behind(source, tmp_path):
    (source / "Ground truth" / "In_300.png").unlink()
    with pytest.raises(FileNotFoundError, match="In_300.png is missing"):
        make("neu-inclusion", tmp_path / "data", source)
    assert list((tmp_path / "data").iterdir()) == []


FULL = """
import resource, sys
from data_prep.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
sys.exit(main(["make", "synthetic", "--out", sys.argv[1]]))
"""


def test_a_full_disk_is_one_sentence_that_names_the_data_set(tmp_path):
    """The system lets the process write no file beyond 100 bytes."""
    process = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert process.returncode == 1 and list(tmp_path.iterdir()) == []
    assert process.stderr == f"{tmp_path / 'synthetic'} cannot be written (File too large); make place for it, or write elsewhere.\n"


def test_a_split_seed_below_0_is_refused(squares):
    with pytest.raises(ValueError, match="the seed of the split is -1; give a whole number from 0 on"):
        format.index(squares, split_seed=-1)


def test_locate(tmp_path, monkeypatch, squares):
    monkeypatch.setenv("ANET_DATA", str(tmp_path / "nowhere"))
    assert (locate("synthetic") / "manifest.csv").is_file()
    assert locate(str(squares)) == squares.resolve()
    with pytest.raises(FileNotFoundError, match='make neu-patches" where ANET_DATA has SD-saliency-900'):
        locate("neu-patches")
    with pytest.raises(ValueError, match="unknown data set 'neu-rust'; known: synthetic, synthetic-dagm"):
        locate("neu-rust")
    monkeypatch.setenv("ANET_DATA", str(squares.parent))
    assert locate("squares") == squares
    monkeypatch.chdir(squares / "images")
    assert [locate(path) for path in (".", "..", "../masks")] == [squares / "images", squares, squares / "masks"]
    (tmp_path / "linked").symlink_to(squares)
    assert locate(str(tmp_path / "linked")).name == "linked"
    for other in ("", "squares/images"):  # which are under ANET_DATA, but not from here
        with pytest.raises(ValueError, match="unknown data set"):
            locate(other)


def test_a_user_without_a_name_has_drawn_sets(tmp_path, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("ANET_DATA", str(tmp_path / "nowhere"))
    assert f"anet-data-{os.getuid()}-" in str(locate("synthetic"))


@pytest.mark.parametrize("arguments, said", [((), "Give the folder of the pictures"), (("nowhere",), "nowhere/Source Images/In_1.bmp is missing")])
def test_the_table_of_overlaps_outlives_a_failure(tmp_path, arguments, said):
    copy = shutil.copytree(ROOT / "data_prep", tmp_path / "data_prep")  # a failure must not cost the committed table
    done = subprocess.run([sys.executable, "-m", "data_prep.neu", *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and said in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert (copy / neu.OVERLAPS.name).read_bytes() == neu.OVERLAPS.read_bytes()


def change(path: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def rewrite(folder: Path, old: str, new: str) -> None:
    text = (folder / "manifest.csv").read_text()
    assert old in text
    (folder / "manifest.csv").write_text(text.replace(old, new, 1))


FIRST = "square 0.png"
FAULTS = {
    "no folder": (lambda folder: shutil.rmtree(folder), "does not exist; make it"),
    "no manifest": (lambda folder: (folder / "manifest.csv").unlink(), "manifest.csv is missing"),
    "no mask": (lambda folder: (folder / "masks" / FIRST).unlink(), f"masks/{FIRST} is missing"),
    "another size": (
        lambda folder: change(folder / "masks" / FIRST, np.zeros((32, 64), np.uint8)), "is 64x32 but its image is 64x64"),
    "other values": (
        lambda folder: change(folder / "masks" / FIRST, np.full((64, 64), 7, np.uint8)), "holds the value 7; a mask is 0"),
    "colour mask": (lambda folder: change(folder / "masks" / FIRST, np.zeros((64, 64, 3), np.uint8)), "colour picture"),
    "cut short": (lambda folder: cut(folder / "images" / FIRST), "cannot be read as a picture"),
    "not a picture": (lambda folder: (folder / "images" / FIRST).write_text("hello"), "cannot be read as a picture"),
    "empty file": (lambda folder: (folder / "images" / FIRST).write_bytes(b""), "cannot be read as a picture"),
    "changed": (
        lambda folder: change(folder / "images" / FIRST, np.zeros((64, 64), np.uint8)), "not the file that the manifest describes"),
    "other columns": (lambda folder: (folder / "manifest.csv").write_text("id,split\n"), "must have the columns id, split, group"),
    "no rows": (lambda folder: (folder / "manifest.csv").write_text(",".join(format.COLUMNS) + "\n"), "lists no picture"),
    "an open quote": (lambda folder: rewrite(folder, "square 1,", '"square 1,'), "manifest.csv is damaged ("),
    "UTF-16": (lambda folder: (folder / "manifest.csv").write_text(",".join(format.COLUMNS), encoding="utf-16"), "manifest.csv is damaged ("),
    "a short line": (lambda folder: rewrite(folder, ",64,64,", ",64,"), "has a line for 'square 0' that has not 8 values"),
    "no number": (lambda folder: rewrite(folder, ",64,64,", ",64,64 px,"), "has for 'square 0' what is no number (invalid literal for int"),
    "a line twice": (lambda folder: rewrite(folder, "square 1,", "square 0,"), "lists 'square 0' more than once"),
    "another split": (lambda folder: rewrite(folder, ",train,", ",val,"), "has the split 'val' for square 0; write \"train\" or \"test\" there"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_data_is_one_sentence_that_names_the_file(squares, fault):
    breaks, said = FAULTS[fault]
    breaks(squares)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        dataset.load(squares, "train"), dataset.load(squares, "test")
    assert said in str(error.value) and str(squares) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fault", ["no mask", "another size", "other values", "colour mask", "cut short"])
def test_index_refuses_what_load_would_and_keeps_the_manifest(squares, fault):
    before = (squares / "manifest.csv").read_bytes()
    FAULTS[fault][0](squares)
    with pytest.raises((ValueError, FileNotFoundError), match="square 0.png"):
        format.index(squares, test=2)
    assert (squares / "manifest.csv").read_bytes() == before and not list(squares.glob("*.tmp"))


def test_a_defect_of_one_pixel_is_not_rounded_away(tmp_path):
    mask = Image.new("L", (1600, 1600))
    mask.putpixel((0, 0), 255)
    format.write(tmp_path / "set", [(f"p{i}", Image.new("L", mask.size, i), mask) for i in range(2)], test=1)
    assert [float(row["defect_fraction"]) for row in format.read_manifest(tmp_path / "set")] == pytest.approx([1 / 1600**2] * 2, rel=0.1)


@pytest.mark.parametrize("file", ["images/new.jpg", "images/square 0.PNG", "masks/new.png", "masks/square 0.tif"])
def test_index_passes_no_picture_over(squares, file):
    Image.new("L", (64, 64)).save(squares / file)
    with pytest.raises(ValueError, match=f"{file} would be passed over"):
        format.index(squares, test=2)


def sides(folder: Path) -> dict[str, tuple[str, str]]:
    """Group and split of each id of a manifest."""
    return {row["id"]: (row["group"], row["split"]) for row in format.read_manifest(folder)}


def test_index_keeps_groups_and_split(tmp_path, squares):
    """Of tiles, where one was changed, one removed, one picture added and one that has the name of tested tiles' group."""
    assert main(["own", str(squares), "--name", "mine", "--out", str(tmp_path), "--test", "8", "--tile", "32"]) == 0
    folder = tmp_path / "mine"
    before = sides(folder)
    tested = next(group for group, split in before.values() if split == "test")
    changed, removed = list(before)[0], list(before)[5]
    change(folder / "images" / f"{changed}.png", np.arange(1024).reshape(32, 32).astype(np.uint8))
    for kind in ("images", "masks"):
        (folder / kind / f"{removed}.png").unlink()
        for name in ("new", tested):
            shutil.copy(folder / kind / f"{changed}.png", folder / kind / f"{name}.png")
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text(encoding="utf-8"), encoding="utf-8-sig")  # as a spreadsheet saves it
    del before[removed]
    before |= {"new": ("new", "train"), tested: (tested, "test")}
    assert main(["index", str(folder)]) == 0
    assert sides(folder) == before and not {"damaged file", "split group"} & {finding.kind for finding in audit(folder, ())}
    assert main(["index", str(folder), "--test", "4"]) == 0
    drawn = sides(folder)
    assert {name: group for name, (group, _) in drawn.items()} == {name: group for name, (group, _) in before.items()}
    assert [split for _, split in drawn.values()].count("test") == 4
    assert main(["index", str(folder), "--split-seed", "3"]) == 0 and sides(folder) != drawn
    assert "split group" not in {finding.kind for finding in audit(folder, ())}


def test_index_draws_where_there_is_no_split_to_keep(squares, capsys):
    (squares / "manifest.csv").write_text("id,split\nsquare 0,test\n")
    assert main(["index", str(squares)]) == 0 and [split for _, split in sides(squares).values()].count("test") == 1
    [tested] = [name for name, (_, split) in sides(squares).items() if split == "test"]
    for kind in ("images", "masks"):
        (squares / kind / f"{tested}.png").unlink()
    assert main(["index", str(squares)]) == 1 and "manifest.csv gives a split that leaves no picture" in capsys.readouterr().err
    assert main(["index", str(squares), "--test", "2"]) == 0


def test_index_takes_masks_of_one_bit_and_no_file_that_macos_left(squares):
    masks = {part: dataset.load(squares, part).masks for part in ("train", "test")}
    for path in (squares / "masks").iterdir():
        Image.open(path).convert("1").save(path)
    (squares / "images" / f"._{FIRST}").write_bytes(b"\0\5\x16\7")
    format.index(squares, test=2)
    assert all((dataset.load(squares, part).masks == masks[part]).all() for part in masks) and len(sides(squares)) == 8


def test_sixteen_bit_pictures_are_scaled(squares):
    Image.fromarray(np.full((64, 64), 40_000, np.uint16)).save(squares / "images" / FIRST)
    format.index(squares, test=2)
    for part in (dataset.load(squares, "train"), dataset.load(squares, "test")):
        if FIRST[:-4] in part.ids:
            assert (part.images[part.ids.index(FIRST[:-4])] == round(40_000 / 257)).all()


def test_neu_refuses_pictures_that_are_not_the_published_ones(source, tmp_path):
    Image.new("L", (224, 224)).save(source / "Source Images" / "In_7.bmp")
    with pytest.raises(ValueError, match="In_7.bmp is 224x224 instead of 200x200; unpack the archive again"):
        make("neu-inclusion", tmp_path / "data", source)


@pytest.mark.parametrize("mask, said", [(np.zeros((100, 200), np.uint8), "200x100"), (np.full((200, 200), 3, np.uint8), "value 3")])
def test_neu_refuses_masks_that_resizing_would_hide(source, tmp_path, mask, said):
    change(source / "Ground truth" / "In_7.png", mask)
    with pytest.raises(ValueError, match=f"In_7.png .*{said}"):
        make("neu-inclusion", tmp_path / "data", source)


def test_pictures_of_two_sizes_are_refused(squares):
    for kind in ("images", "masks"):
        change(squares / kind / "square 1.png", np.zeros((32, 32), np.uint8))
    format.index(squares, test=2)
    with pytest.raises(ValueError, match="bring all to one size"):
        dataset.load(squares, "train"), dataset.load(squares, "test")


def test_command_line(tmp_path, capsys, squares):
    assert main(["make", "synthetic", "--out", str(tmp_path)]) == 0
    assert main(["make", "synthetic", "--out", str(tmp_path)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["make", "synthetic", "neu-rust", "--out", str(tmp_path / "both")]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'both' / 'synthetic'}\n" and "known: synthetic" in captured.err
    assert main(["make", "neu-inclusion", "--out", str(tmp_path), "--source", str(tmp_path)]) == 1
    assert 'no folder "Source Images"' in capsys.readouterr().err
    (squares / "manifest.csv").unlink()
    assert main(["index", str(squares)]) == 0
    with (squares / "manifest.csv").open() as file:
        assert [row["split"] for row in csv.DictReader(file)].count("test") == 1
    (squares / "masks" / FIRST).unlink()
    assert main(["index", str(squares)]) == 1
    assert "is missing" in capsys.readouterr().err
    assert main(["index", str(squares), "--test", "0"]) == 1
    assert main(["index", str(tmp_path / "nowhere")]) == 1


@pytest.mark.parametrize("sound", [False, True])
def test_masks_that_look_inverted_are_told(tmp_path, capsys, squares, sound):
    """Also where most pictures have no mask; not where the masks are right, or what is meant was said."""
    def own(name, *options):
        assert main(["own", str(squares), "--name", name, "--out", str(tmp_path), *options]) == 0
        return capsys.readouterr()

    assert own("right") == (f"{tmp_path / 'right'}\n", "")
    for path in (squares / "masks").iterdir():
        change(path, 255 - np.asarray(Image.open(path)))
    if sound:
        for path in sorted((squares / "masks").iterdir())[3:]:
            path.unlink()
    said = own("inverted", *["--unmasked-sound"] * sound).err
    assert said.endswith(f"delete {tmp_path / 'inverted'} and make it again with --defect-values 0\n") and said.count("\n") == 1
    if not sound:
        assert own("meant", "--defect-values", "0").err == "" and own("wide", "--defect-values", "0", "255").err == ""


def test_an_interrupt_is_quiet_and_leaves_no_set(tmp_path, capsys, squares, monkeypatch):
    """One that was killed leaves a hidden folder, which disturbs nothing."""
    def interrupted(*_):
        raise KeyboardInterrupt

    call = ["own", str(squares), "--name", "mine", "--out", str(tmp_path / "data")]
    with monkeypatch.context() as patch:
        patch.setattr(format, "index", interrupted)
        assert main(call) == 130 and list((tmp_path / "data").iterdir()) == [] and capsys.readouterr() == ("", "")
    (tmp_path / "data" / ".mine-killed" / "images").mkdir(parents=True)
    assert main(call) == 0 and main(["audit", str(tmp_path / "data" / "mine"), "--no-overlaps"]) == 0


def test_from_a_folder_to_an_audited_set_by_the_command_line(tmp_path, capsys, squares):
    assert main(["own", str(squares), "--name", "mine", "--out", str(tmp_path / "data"), "--test", "4", "--tile", "32"]) == 0
    folder = tmp_path / "data" / "mine"
    assert len(dataset.read_manifest(folder)) == 8 * 4
    assert main(["audit", str(folder), "--no-overlaps"]) == 0
    change(folder / "masks" / f"{dataset.read_manifest(folder)[0]['id']}.png", np.full((32, 32), 255, np.uint8))
    assert main(["audit", str(folder), "--no-overlaps"]) == 1
    capsys.readouterr()
    assert main(["polygons", str(tmp_path / "nowhere"), str(squares / "images"), "--name", "notes", "--out", str(tmp_path)]) == 1
    assert main(["fetch", "dagm", "--from", str(tmp_path / "nothing.zip"), "--out", str(tmp_path)]) == 1
    assert main(["audit", str(tmp_path / "nowhere")]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) >= 3
