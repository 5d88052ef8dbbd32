import json
import os
import shutil
import struct
import subprocess
import sys
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anet_core import dataset, weights
from anet_core.inference import Segmenter
from data_prep import catalogue, own

from conftest import ROOT

RNG = np.random.default_rng(0)


def picture(height: int = 64, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Grey noise, brightest 255, and a mask, 0 or 255, with a defect in every corner."""
    image = RNG.integers(0, 256, (height, width)).astype(np.uint8)
    mask = np.zeros_like(image)
    mask[:9, :9] = mask[-9:, :9] = mask[:9, -9:] = mask[-9:, -9:] = 255
    image[0, 0] = 255
    return image, mask


def put(source, name: str, image, mask, ending: str = ".png", mask_name: str | None = None) -> None:
    for kind, array, file in (("images", image, name + ending), ("masks", mask, mask_name or f"{name}.png")):
        (source / kind / file).parent.mkdir(parents=True, exist_ok=True)
        if array is not None:
            (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(source / kind / file)


def put_plain(source, number: int = 6, **size) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pictures named p0, p1, ... of one size in PNG."""
    drawn = {f"p{i}": picture(**size) for i in range(number)}
    for name, (image, mask) in drawn.items():
        put(source, name, image, mask)
    return drawn


def load_all(folder) -> dict[str, tuple[np.ndarray, np.ndarray, str]]:
    """Grey levels, mask and split of every id."""
    parts = {split: dataset.load(folder, split) for split in ("train", "test")}
    return {
        name: (image[..., 0], mask, split)
        for split, part in parts.items() for name, image, mask in zip(part.ids, part.images, part.masks)
    }


def test_common_formats_and_names_become_one_set(tmp_path):
    """Every lossless form of a picture gives its very pixels; names differ in case, ending and Unicode form."""
    source, drawn = tmp_path / "source", {}
    forms = {
        "grey": ("L", ".png"), "Größe 7": ("L", ".BMP"), "缺陷": ("RGB", ".tif"), "deep one": ("I;16", ".tiff"),
        "x.y": ("P", ".png"), "K": ("RGBA", ".png"),
    }
    for name, (mode, ending) in forms.items():
        image, mask = drawn[name] = picture()
        shown = Image.fromarray(image.astype(np.uint16) * 257 if mode == "I;16" else image)
        mask_name = unicodedata.normalize("NFD", name.swapcase()) + ".PNG"
        put(source, name, shown if mode == "I;16" else shown.convert(mode), Image.fromarray(mask).convert("1"), ending, mask_name)
    (source / "images" / ".DS_Store").write_text("left behind")
    folder = own.prepare(source, tmp_path / "set")
    loaded = load_all(folder)
    assert loaded.keys() == drawn.keys()
    for name, (image, mask, _) in loaded.items():
        assert np.array_equal(image, drawn[name][0]) and np.array_equal(mask, drawn[name][1] == 255)
    assert [split for *_, split in loaded.values()].count("test") == 1


def test_subfolders_are_read_and_their_names_go_into_those_of_the_pictures(tmp_path):
    source, drawn = tmp_path / "source", {}
    for kind in ("scratch", "dent/deep"):
        for number in range(2):
            drawn[f"{kind.replace('/', '-')}-{number}"] = image, mask = picture()
            put(source, f"{kind}/{number}", image, mask, mask_name=f"{kind}/{number}_mask.png")
    (source / "images" / ".thumbnails").mkdir()
    (source / "images" / ".thumbnails" / "0.png").write_text("left behind")
    loaded = load_all(own.prepare(source, tmp_path / "set"))
    assert loaded.keys() == drawn.keys()
    assert all(np.array_equal(image, drawn[name][0]) and np.array_equal(mask, drawn[name][1] == 255) for name, (image, mask, _) in loaded.items())
    put(source, "scratch-0", *picture(), mask_name="scratch-0_mask.png")
    with pytest.raises(ValueError, match="scratch/0.png and scratch-0.png have one name|scratch-0.png and scratch/0.png have one name"):
        own.prepare(source, tmp_path / "another")


def test_jpeg_pictures_stay_what_pillow_decodes(tmp_path):
    put_plain(tmp_path / "source")
    image, mask = picture()
    put(tmp_path / "source", "photo", image, mask, ".jpeg")
    loaded = load_all(own.prepare(tmp_path / "source", tmp_path / "set"))
    assert np.array_equal(loaded["photo"][0], np.asarray(Image.open(tmp_path / "source" / "images" / "photo.jpeg")))


def coloured_palette(mask: np.ndarray) -> Image.Image:
    indexed = Image.fromarray(mask // 255)
    indexed.putpalette([0, 0, 0, 128, 0, 0])
    return indexed


def black_second(mask: np.ndarray) -> Image.Image:
    indexed = Image.fromarray(1 - mask // 255)
    indexed.putpalette([255, 255, 255, 0, 0, 0])
    return indexed


FORMS = {
    "0 and 255": lambda mask: mask, "0 and 1": lambda mask: mask // 255, "0 and 7": lambda mask: mask // 255 * 7,
    "bool": lambda mask: Image.fromarray(mask).convert("1"), "RGB": lambda mask: np.dstack([mask] * 3),
    "16 bits": lambda mask: mask.astype(np.uint16) * 257, "32 bits": lambda mask: mask.astype(np.int32),
    "palette": coloured_palette, "palette that begins with white": black_second,
}


@pytest.mark.parametrize("form", FORMS)
def test_masks_of_two_values(form, tmp_path):
    drawn = {f"p{i}": picture() for i in range(4)}
    for name, (image, mask) in drawn.items():
        put(tmp_path / "source", name, image, FORMS[form](mask), mask_name=f"{name}.tif" if form == "32 bits" else None)
    for name, (_, mask, _) in load_all(own.prepare(tmp_path / "source", tmp_path / "set")).items():
        assert np.array_equal(mask, drawn[name][1] == 255)


def test_masks_of_classes_need_the_values_of_defects(tmp_path):
    drawn = put_plain(tmp_path / "source")
    classes = np.zeros((64, 64), np.uint8)
    classes[:8], classes[8:20], classes[30:] = 1, 2, 3
    put(tmp_path / "source", "q", drawn["p0"][0], classes)
    with pytest.raises(ValueError, match=(
        r"q.png holds the values 0, 1, 2, 3, but .* as p0.png holds 255, .*; of all values, 0, 1, 2, 3, 255, give those that mean a "
        r"defect as defect_values \(--defect-values\)\.$"
    )):
        own.prepare(tmp_path / "source", tmp_path / "set")
    loaded = load_all(own.prepare(tmp_path / "source", tmp_path / "set", defect_values=(2, 3, 255)))
    assert np.array_equal(loaded["q"][1], classes >= 2) and np.array_equal(loaded["p1"][1], drawn["p1"][1] == 255)


def test_0_means_a_defect_where_it_is_given(tmp_path):
    drawn = {f"p{i}": picture() for i in range(4)}
    for name, (image, mask) in drawn.items():
        put(tmp_path / "source", name, image, 255 - mask)
    for name, (_, mask, _) in load_all(own.prepare(tmp_path / "source", tmp_path / "set", defect_values=(0,))).items():
        assert np.array_equal(mask, drawn[name][1] == 255)
    with pytest.raises(ValueError, match=r"with 0 in defect_values \(--defect-values\) a picture without a mask would be all defect"):
        own.prepare(tmp_path / "source", tmp_path / "other", defect_values=(0,), unmasked_sound=True)


def test_two_masks_may_not_disagree_on_the_value_of_a_defect(tmp_path):
    drawn = put_plain(tmp_path / "source")
    put(tmp_path / "source", "p3", drawn["p3"][0], drawn["p3"][1] // 255)
    with pytest.raises(ValueError, match=r"p3.png holds the values 0, 1, .* as p0.png holds 255, "):
        own.prepare(tmp_path / "source", tmp_path / "set")


def test_jpeg_masks_need_a_threshold(tmp_path):
    drawn = {f"p{i}": picture() for i in range(4)}
    for name, (image, mask) in drawn.items():
        put(tmp_path / "source", name, image, mask, mask_name=f"{name}.jpg")
    with pytest.raises(ValueError, match=r"p0.jpg holds the values 0, 1, .*, \.\.\., but .* one other the same in all; give .* threshold 127\.$"):
        own.prepare(tmp_path / "source", tmp_path / "set")
    for name, (_, mask, _) in load_all(own.prepare(tmp_path / "source", tmp_path / "set", threshold=127)).items():
        assert np.array_equal(mask, drawn[name][1] == 255)


def test_pictures_without_a_mask_are_free_of_defects_only_where_that_is_said(tmp_path):
    put_plain(tmp_path / "source", 12)
    for i in range(12):
        put(tmp_path / "source", f"sound{i}", picture()[0], None)
    with pytest.raises(ValueError, match=r"sound0.png has no mask in .*masks; .* unmasked_sound \(--unmasked-sound\)"):
        own.prepare(tmp_path / "source", tmp_path / "set")
    loaded = load_all(own.prepare(tmp_path / "source", tmp_path / "set", unmasked_sound=True))
    assert all(mask.any() == name.startswith("p") for name, (_, mask, _) in loaded.items())
    tested = [name[0] for name, (*_, split) in loaded.items() if split == "test"]
    assert sorted(tested) == ["p", "p", "s", "s"]  # stratified


def test_large_pictures_become_tiles_that_stay_together(tmp_path):
    drawn = put_plain(tmp_path / "source", 8, height=100, width=150)
    folder = own.prepare(tmp_path / "source", tmp_path / "set", tile=64, overlap=10)
    loaded, sides = load_all(folder), {}
    for name, (image, mask, split) in loaded.items():
        key, row, column = name.split("-")
        window = np.s_[int(row) : int(row) + 64, int(column) : int(column) + 64]
        assert np.array_equal(image, drawn[key][0][window]) and np.array_equal(mask, drawn[key][1][window] == 255)
        sides.setdefault(key, set()).add(split)
    assert len(loaded) == 8 * 2 * 3 and sides.keys() == drawn.keys() and all(len(splits) == 1 for splits in sides.values())
    assert {row["group"] for row in dataset.read_manifest(folder)} == drawn.keys()
    assert sum(split == {"test"} for split in sides.values()) == 1


def test_pictures_up_to_a_tile_stay_whole_and_smaller_ones_are_padded(tmp_path):
    drawn = put_plain(tmp_path / "source", 5, height=60, width=500)
    drawn["low"] = picture(40, 500)
    put(tmp_path / "source", "low", *drawn["low"])
    loaded = load_all(own.prepare(tmp_path / "source", tmp_path / "set"))
    assert loaded.keys() == drawn.keys()
    assert np.array_equal(loaded["low"][0], np.pad(drawn["low"][0], ((0, 20), (0, 0)), "reflect"))
    assert np.array_equal(loaded["low"][1], np.pad(drawn["low"][1], ((0, 20), (0, 0)), "reflect") == 255)
    put(tmp_path / "source", "thin", *picture(20, 500))
    with pytest.raises(ValueError, match="thin.png is 500x20, less than half of the 500x60 .* tile of at most 40"):
        own.prepare(tmp_path / "source", tmp_path / "other")
    own.prepare(tmp_path / "source", tmp_path / "other", tile=40)
    put(tmp_path / "source", "line", *picture(15, 500))  # no tile is as small as that
    with pytest.raises(ValueError, match="line.png is 500x15, less than half of the 500x60 that all pictures are brought to; take out what is so small."):
        own.prepare(tmp_path / "source", tmp_path / "third")


@settings(max_examples=200, derandomize=True, deadline=None)
@given(side=st.integers(1, 5000), tile=st.integers(32, 600), share=st.floats(0, 0.9))
def test_tiles_cover_a_side_in_the_fewest_steps(side, tile, share):
    overlap = int(share * tile)
    starts = own.starts(side, tile, overlap)
    ends = [min(side, start + tile) for start in starts]
    assert starts[0] == 0 and ends[-1] == side and (side <= tile or starts[-1] == side - tile)
    assert all(end - start >= overlap for start, end in zip(starts[1:], ends))
    assert len(starts) == 1 or (len(starts) - 2) * (tile - overlap) + tile < side  # one tile less would not do


def test_sixteen_bits_keep_the_scale_of_the_whole_set(tmp_path):
    """A 12-bit camera: refused at 65535, where it is black; with 4095 a new picture is read on the same scale."""
    drawn = put_plain(tmp_path / "source")
    for name, (image, mask) in drawn.items():
        put(tmp_path / "source", name, image.astype(np.uint16) * 16, mask)
    put(tmp_path / "source", "bright", *picture())  # of 8 bits, which hides none of the others
    with pytest.raises(ValueError, match="has 16 bits and no brighter pixel than 16 of 255; give white, 4095 for"):
        own.prepare(tmp_path / "source", tmp_path / "set")
    (tmp_path / "source" / "images" / "bright.png").unlink()
    (tmp_path / "source" / "masks" / "bright.png").unlink()
    folder = own.prepare(tmp_path / "source", tmp_path / "set", white=4095)
    white = json.loads((folder / own.NOTE).read_text())["white"]
    for name, (image, _, _) in load_all(folder).items():
        assert np.array_equal(image, np.round(drawn[name][0].astype(int) * 16 / 4095 * 255))
        assert np.array_equal(image, dataset.read_image(tmp_path / "source" / "images" / f"{name}.png", white)[..., 0])
    own.prepare(tmp_path / "source", tmp_path / "black", white=65535)
    (folder / own.NOTE).write_text('{"size": [64')
    with pytest.raises(ValueError, match=f"{own.NOTE} is damaged; make the data set again"):
        own.settings(folder)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_colour_of_fewer_than_16_bits_is_not_read_as_black(ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    cv2.imwrite(str(path), values[..., ::-1])
    assert np.array_equal(dataset.read_image(path), values >> 8)
    with pytest.raises(ValueError, match="a.... has colour of 16 bits that a camera of fewer may have made, and white is for grey alone; save it with 8 bits"):
        dataset.read_image(path, 4095)
    cv2.imwrite(str(path), values >> 4)
    for white in (None, 4095):
        with pytest.raises(ValueError, match="has colour of 16 bits"):
            dataset.read_image(path, white)


def test_a_saturated_pixel_does_not_make_16_bits_of_14(tmp_path):
    Image.fromarray(np.full((20, 30), 2**14 - 1, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="give white"):
        dataset.read_image(tmp_path / "a.png")
    Image.fromarray(np.full((20, 30), 2**14, np.uint16)).save(tmp_path / "a.png")
    assert (dataset.read_image(tmp_path / "a.png") == 64).all()


@pytest.mark.parametrize("shape, tag, value", [((20, 30), 262, 0), ((20, 30, 3), 284, 2)])
def test_what_pillow_misreads_of_tiff_is_refused(shape, tag, value, tmp_path):
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), np.full(shape, 40_000, np.uint16))
    assert (dataset.read_image(path) == 156).all()
    content = path.read_bytes()
    entry = struct.pack("<HHII", tag, 3, 1, 1)
    assert content.count(entry) == 1
    path.write_bytes(content.replace(entry, struct.pack("<HHII", tag, 3, 1, value)))
    with pytest.raises(ValueError, match="a.tif cannot be read as a picture .its 16 bits are stored with white as 0, or one colour behind the other"):
        dataset.read_image(path)


def test_a_threshold_may_not_pass_over_a_whole_mask(tmp_path):
    drawn = put_plain(tmp_path / "source")
    put(tmp_path / "source", "p3", drawn["p3"][0], drawn["p3"][1] // 255)
    with pytest.raises(ValueError, match="p3.png holds no value above the threshold 127, but 1; bring all masks to one scale, or give a threshold below that"):
        own.prepare(tmp_path / "source", tmp_path / "set", threshold=127)


def test_masks_of_deep_colour_are_refused_and_colours_of_5_bits_are_not_deep(tmp_path):
    put_plain(tmp_path / "source")
    cv2.imwrite(str(tmp_path / "source" / "masks" / "p1.png"), np.zeros((64, 64, 3), np.uint16))
    with pytest.raises(ValueError, match="p1.png is a colour picture of 16 bits; save the mask as one grey channel"):
        own.prepare(tmp_path / "source", tmp_path / "set")
    head = struct.pack("<2sIHHI", b"BM", 70 + 8, 0, 0, 70) + struct.pack("<IiiHHIIiiII4I", 56, 2, 2, 1, 16, 3, 8, 0, 0, 0, 0, 0xF800, 0x7E0, 0x1F, 0)
    (tmp_path / "a.bmp").write_bytes(head + struct.pack("<4H", *4 * [0x1082]))
    assert dataset.read_image(tmp_path / "a.bmp", 4095).max() < 64


def test_the_threshold_that_is_told_is_half_of_the_largest_value(tmp_path):
    put(tmp_path / "source", "p", picture()[0], np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64))
    with pytest.raises(ValueError, match="for grey edges between 0 and 65535 threshold 32767"):
        own.prepare(tmp_path / "source", tmp_path / "set")


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_masks_among_the_pictures_are_not_pictures(mode, tmp_path):
    for name, (image, mask) in put_plain(tmp_path / "source").items():
        put(tmp_path / "source", name, image, Image.fromarray(mask).convert(mode))
    put(tmp_path / "source", "black", *2 * [np.zeros((64, 64), np.uint8)])  # equal to its mask, and a picture all the same
    assert "black" in load_all(own.prepare(tmp_path / "source", tmp_path / "set"))
    for kind in ("images", "masks"):
        (tmp_path / "source" / kind / "black.png").unlink()
    for path in (tmp_path / "source" / "masks").iterdir():
        for folder in ("images", "masks"):
            shutil.copy(path, tmp_path / "source" / folder / f"{path.stem}_mask.png")
        path.unlink()
    with pytest.raises(ValueError, match="images/p0_mask.png and .*masks/p0_mask.png are one picture; take masks out of the images"):
        own.prepare(tmp_path / "source", tmp_path / "other", unmasked_sound=True)


def test_pictures_turned_by_exif_meet_masks_drawn_upright(tmp_path):
    put_plain(tmp_path / "source", height=40, width=64)
    image, mask = picture(40, 64)
    exif = Image.Exif()
    exif[274] = 6  # stored lying, to be turned a quarter clockwise
    put(tmp_path / "source", "phone", None, mask)
    Image.fromarray(np.rot90(image)).save(tmp_path / "source" / "images" / "phone.png", exif=exif)
    loaded = load_all(own.prepare(tmp_path / "source", tmp_path / "set"))
    assert np.array_equal(loaded["phone"][0], image) and np.array_equal(loaded["phone"][1], mask == 255)


def colour_mask(source):
    put(source, "p3", None, np.dstack([picture()[1], *[np.zeros((64, 64), np.uint8)] * 2]))


def cut(path):
    path.write_bytes(path.read_bytes()[:60])


FAULTS = {
    "zero bytes": (lambda source: (source / "images" / "p3.png").write_bytes(b""), "p3.png cannot be read"),
    "cut short": (lambda source: cut(source / "masks" / "p3.png"), "p3.png cannot be read"),
    "another format": (lambda source: Image.new("L", (64, 64)).save(source / "images" / "p9.webp"), "p9.webp' is not a file that"),
    "a linked folder": (lambda source: (source / "images" / "more").symlink_to(source / "masks"), "more' is not a file that ends in"),
    "line break": (lambda source: put(source, "a\nb", *picture()), "is not a file that ends in"),
    "two images of one stem": (lambda source: put(source, "p3", picture()[0], None, ".jpg"), "p3.jpg and p3.png have one name"),
    "two images but for case": (lambda source: put(source, "P3", *picture()), "P3.png and p3.png have one name"),
    "mask alone": (lambda source: put(source, "q", None, picture()[1]), "q.png has no image"),
    "another size": (lambda source: put(source, "p3", None, picture(64, 32)[1]), "p3.png is 32x64 but its image is 64x64"),
    "colour mask": (colour_mask, "p3.png is a colour picture"),
    "transparent": (lambda source: put(source, "p3", Image.new("LA", (64, 64)), None), "p3.png has transparent pixels"),
    "no picture": (lambda source: [path.unlink() for path in (source / "images").iterdir()], "images holds no picture"),
    "no masks": (lambda source: (source / "masks").rename(source / "labels"), "masks does not exist"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_and_leaves_nothing(fault, tmp_path):
    put_plain(tmp_path / "source")
    FAULTS[fault][0](tmp_path / "source")
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        own.prepare(tmp_path / "source", tmp_path / "sets" / "set")
    assert FAULTS[fault][1] in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "sets").exists()


def test_the_settings_come_with_the_set_and_not_after_it(tmp_path, monkeypatch):
    """So that a set which is there can be read on its scale, whenever its making was cut off."""
    put_plain(tmp_path / "source")
    rename, complete = Path.rename, []

    def watched(self, target):
        complete.append((self / own.NOTE).is_file())
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watched)
    own.prepare(tmp_path / "source", tmp_path / "set")
    assert complete == [True]


def test_sets_that_teach_nothing_are_refused(tmp_path):
    for i in range(4):
        put(tmp_path / "sound", f"p{i}", picture()[0], np.zeros((64, 64), np.uint8))
    with pytest.raises(ValueError, match="masks marks no defect"):
        own.prepare(tmp_path / "sound", tmp_path / "set")
    put(tmp_path / "single", "p", *picture(200, 200))
    with pytest.raises(ValueError, match="too few pictures"):
        own.prepare(tmp_path / "single", tmp_path / "set", tile=64)
    put_plain(tmp_path / "source")
    put_plain(tmp_path / "set")
    with pytest.raises(FileExistsError, match="set exists already"):
        own.prepare(tmp_path / "source", tmp_path / "set")
    both = {"defect_values": (1,), "threshold": 1}
    said = {"white": "give the value of white in", "tile": "give a tile of 32 or more", "threshold": "give one of them"}
    for wrong in ({"tile": 16}, {"tile": 64, "overlap": 64}, both, {"white": 0}, {"white": 70_000}):
        with pytest.raises(ValueError, match=next(words for key, words in said.items() if key in wrong)):
            own.prepare(tmp_path / "source", tmp_path / "other", **wrong)


def test_a_tile_may_not_take_the_name_of_another_picture(tmp_path):
    put_plain(tmp_path / "source", height=64, width=100)
    put(tmp_path / "source", "p0-0-36", *picture())
    with pytest.raises(ValueError, match="named like tiles of others"):
        own.prepare(tmp_path / "source", tmp_path / "set", tile=64)


def test_one_papermill_call_ends_with_a_mask_for_a_picture_never_seen(tmp_path):
    for i in range(8):
        image, mask = picture()
        put(tmp_path / "source", f"part {i}", np.where(mask, image // 8, image // 2 + 128).astype(np.uint16) * 16, mask, ".tif")
    new = Image.fromarray(np.full((50, 90), 2000, np.uint16))
    new.save(tmp_path / "new part.tif")

    def call(options):
        return subprocess.run(
            [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "your_data.ipynb"), str(tmp_path / "out.ipynb"), "-y",
             f"{{source: {tmp_path / 'source'}, name: parts, options: {options}, picture: {tmp_path / 'new part.tif'}, "
             f"export: openvino, results: {tmp_path / 'results'}}}"],
            capture_output=True, text=True, cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "ANET_DATA": str(tmp_path / "data")},
        )

    done = call("{white: 4095}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(dataset.read_manifest(tmp_path / "data" / "parts")) == 8
    exported = {path.suffix for path in (tmp_path / "results" / "weights").iterdir()}
    assert exported == {".safetensors", ".onnx", ".xml", ".bin"}
    [trained] = (tmp_path / "results" / "weights").glob("*.safetensors")
    assert weights.pictures(trained) == {"size": [64, 64], "white": 4095}
    [mask] = (tmp_path / "results" / "masks").glob("parts--A-Net--quick*--new part.png")
    assert Image.open(mask).size == new.size
    segmenter = Segmenter(trained.with_suffix(".xml"), threads=1)  # which anet predict uses
    assert (segmenter.tile, segmenter.white) == (64, 4095)
    again = call("{white: 4095, tile: 32}")  # the set that is there has another
    assert again.returncode and "was made by tile 512; give another name, or delete it" in again.stderr
    put(tmp_path / "source", "part 0", np.full((64, 64), 20_000, np.uint16), np.eye(64) > 0, ".tif")  # a mask that was drawn better
    again = call("{white: 4095}")
    assert again.returncode and "was made by other pictures or masks; give another name, or delete it" in again.stderr


def test_pictures_that_overlap_stay_on_one_side_where_that_is_asked(tmp_path):
    """Cuts of three surfaces, two of each shifted by 20 pixels; turned ones are told by tests of ``overlap``."""
    for i in range(3):
        wide, mask = RNG.integers(0, 256, (64, 84)).astype(np.uint8), np.pad(np.full((20, 20), 255, np.uint8), ((0, 44), (20, 44)))
        for j, left in enumerate((0, 20)):
            put(tmp_path / "source", f"p{j}{i}", wide[:, left : left + 64], mask[:, left : left + 64])
    groups = {}
    for joined in (False, True):
        folder = own.prepare(tmp_path / "source", tmp_path / f"{joined}", test=2, join_overlaps=joined)
        rows = dataset.read_manifest(folder)
        groups[joined] = {row["id"]: row["group"] for row in rows}
        if joined:
            assert len({row["group"] for row in rows if row["split"] == "test"}) == 1
            assert not {row["group"] for row in rows if row["split"] == "test"} & {row["group"] for row in rows if row["split"] == "train"}
    assert groups[False] == {key: key for key in groups[False]}
    assert groups[True] == {f"p{j}{i}": f"p0{i}" for i in range(3) for j in range(2)}


def test_a_set_knows_the_files_that_it_was_made_of(tmp_path):
    put_plain(tmp_path / "source")
    folder = own.prepare(tmp_path / "source", tmp_path / "set")
    known = own.settings(folder)["files"]
    assert known == own.digest(own.find_pairs(tmp_path / "source", False))
    [mask, *_] = sorted((tmp_path / "source" / "masks").iterdir())
    Image.fromarray(255 - np.asarray(Image.open(mask))).save(mask)
    assert known != own.digest(own.find_pairs(tmp_path / "source", False))


@pytest.mark.parametrize("addition", ["_mask", "-GT", " label"])
def test_masks_may_all_have_one_addition_to_their_names(tmp_path, addition):
    source, drawn = tmp_path / "source", {f"p{i}": picture() for i in range(1, 7)}
    for name, (image, mask) in drawn.items():
        put(source, name, image, mask, ".bmp", f"{name}{addition}.png")
    made = load_all(own.prepare(source, tmp_path / "set"))
    assert made.keys() == drawn.keys() and all((made[name][0] == image).all() for name, (image, _) in drawn.items())


@pytest.mark.parametrize("names", [("p10", "p20"), ("p1_mask", "p2"), ("p1_mask", "p2_label"), ("p1_mask", "p3_mask")])
def test_no_other_name_of_a_mask_is_guessed(tmp_path, names):
    for image, mask in zip(("p1", "p2"), names):
        put(tmp_path, image, *picture(), mask_name=f"{mask}.png")
    with pytest.raises(ValueError, match="has no image of the same name"):
        own.find_pairs(tmp_path, True)


def test_a_mask_of_the_very_name_is_that_picture_s(tmp_path):
    for image in ("can", "can_label"):
        put(tmp_path, image, picture()[0], None)
    put(tmp_path, "can_label", *picture())
    found = own.find_pairs(tmp_path, True)
    assert [found[name][1] and found[name][1].stem for name in ("can", "can_label")] == [None, "can_label"]


def test_of_masks_with_an_addition_the_one_without_an_image_is_named(tmp_path):
    for name in ("p1", "p2", "p3"):
        put(tmp_path, name, *picture(), mask_name=f"{name}_mask.png")
    (tmp_path / "images" / "p3.png").unlink()
    with pytest.raises(ValueError, match="p3_mask.png has no image of the same name"):
        own.find_pairs(tmp_path, False)


def test_values_that_were_asked_for_are_noted_also_where_no_mask_has_them(tmp_path):
    put_plain(tmp_path / "source")
    folder = own.prepare(tmp_path / "source", tmp_path / "set", defect_values=[255, 7])
    assert own.settings(folder)["defect_values"] == [7, 255]


def test_a_split_seed_below_0_is_refused_before_pictures_are_read(tmp_path):
    with pytest.raises(ValueError, match="the seed of the split is -1; give a whole number from 0 on"):
        own.prepare(tmp_path / "source", tmp_path / "set", split_seed=-1)


@pytest.mark.parametrize("name, said", [("", "is no name"), ("..", "is no name"), ("a/b", "is no name"), ("synthetic", "a known data set")])
def test_names_that_a_set_of_one_s_own_cannot_have(name, said):
    with pytest.raises(ValueError, match=said):
        catalogue.place(name)
