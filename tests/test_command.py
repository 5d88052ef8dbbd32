"""The console script, called as a function; once as the installed script."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import openvino
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from anet_core import build, command, deployment, inference, marking, native, records, training, weights
from anet_core.command import calibration, main
from anet_core.dataset import load, read_image
from anet_core.defects import overlay, regions, without_specks
from anet_core.inference import Segmenter, to_input, weights_file
from anet_core.marking import pictures_in
from anet_core.metrics import confusion
from anet_core.prediction import HALF, pad_amounts, predict
from anet_core.protocol import PROTOCOLS, QUICK
from anet_core.thresholds import at_thresholds
from data_prep import own, synthetic

from conftest import ROOT, draw

SMALL = ["--tile", "64", "--overlap", "16", "--threads", "1"]  # one small network to compile for all that is cut


@pytest.fixture(scope="module")
def steel():
    """A drawn surface of 128x128."""
    return np.asarray(next(synthetic.samples())[1])


@pytest.fixture(scope="module")
def network():
    return weights.load(weights_file("neu-inclusion"))


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter("neu-inclusion", threads=1, tile=64, overlap=16)


@pytest.fixture
def pictures(tmp_path, steel):
    """A folder of pictures of several kinds and sizes, among other files."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(steel).save(folder / "whole 10.png")
    Image.fromarray(steel[:60, :50]).convert("RGB").save(folder / "whole 9.JPG")
    Image.fromarray(steel[:64, 50:114].astype(np.uint16) * 16).save(folder / "deep.tif")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def logits(network, image: np.ndarray) -> np.ndarray:
    """What torch computes of a picture that is not cut, padded here by itself."""
    rows, columns = pad_amounts(*image.shape[:2])
    padded = np.pad(image, (rows, columns, (0, 0)), mode="reflect")
    with torch.inference_mode():
        values = network(torch.from_numpy(to_input(padded)))[0, 0].numpy()
    return values[rows[0] : rows[0] + image.shape[0], columns[0] : columns[0] + image.shape[1]]


def test_predict_writes_masks_and_overlays_and_prints_what_they_show(pictures, network, capsys):
    out = pictures.parent / "new" / "out"
    assert main(["predict", str(pictures), "--out", str(out), "--white", "4095", *SMALL]) == 0
    printed, said = capsys.readouterr()
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [Path(line["file"]).name for line in lines] == ["deep.tif", "whole 9.JPG", "whole 10.png"]
    assert said == (
        f"passed over: {pictures / 'notes.txt'} (1 in all); read are files that end in .png, .jpg, .jpeg, .bmp, .tif, .tiff, "
        "but for those that anet predict wrote\n"
    )
    assert {str(path) for path in out.iterdir()} == {line[kind] for line in lines for kind in ("mask", "overlay")}
    for line in lines:
        image, mask = read_image(Path(line["file"]), 4095), np.asarray(Image.open(line["mask"])) == 255
        assert (line["height"], line["width"]) == mask.shape == image.shape[:2]
        assert line["defect_pixels"] == mask.sum() and line["defect_fraction"] == mask.mean()
        found = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2][1:].tolist()
        boxes = [(region["box"], region["pixels"]) for region in line["regions"]]
        assert sorted(boxes) == sorted(([x, y, x + w, y + h], n) for x, y, w, h, n in found)
        assert line["inference_ms"] > 0
        assert np.array_equal(read_image(Path(line["overlay"])), overlay(image, mask))
        if max(mask.shape) <= 64:  # not cut: what torch says, but for rounding
            expected = logits(network, image)
            assert not ((expected > 0) != mask)[np.abs(expected) > 1e-3].any()


def test_what_fails_is_said_in_a_sentence_and_the_rest_is_done(pictures, capsys):
    """No picture is overwritten: neither one that was given, nor what was written of another of the same name."""
    empty, gone, out = pictures.parent / "empty", pictures.parent / "gone.png", pictures
    empty.mkdir()
    (pictures / "cut.png").write_bytes((pictures / "whole 10.png").read_bytes()[:2000])
    (pictures / "whole 9-mask.png").mkdir()  # in the way
    for name in ("a.tif", "deep.jpg", "a-mask.png"):
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(pictures / name)
    before = (pictures / "a-mask.png").read_bytes()
    each = [pictures / name for name in ("a.tif", "a-mask.png", "cut.png", "deep.tif", "whole 9.JPG", "whole 10.png")]
    sources = [empty, gone, pictures / "notes.txt", pictures / "deep.jpg", *each, pictures / "deep.jpg"]
    assert main(["predict", *map(str, sources), "--out", str(out), *SMALL]) == 1
    printed, said = capsys.readouterr()
    assert [Path(json.loads(line)["file"]).name for line in printed.splitlines()] == ["deep.jpg", "a-mask.png", "whole 10.png"]
    expected = [
        f"{empty} holds no picture that ends in .png, .*; give a folder that does.", f"{gone} does not exist; give .*.",
        f"{pictures / 'notes.txt'} cannot be read as a picture .*.",
        f"{pictures / 'a.tif'} would be written to {out / 'a-mask.png'}, which holds another picture; .*.",
        f"{pictures / 'cut.png'} cannot be read as a picture .*.",
        f"{pictures / 'deep.tif'} would be written to {out / 'deep-mask.png'}, which holds another picture; .*.",
        f"{out / 'whole 9-mask.png'} cannot be written .*; make place for it, or write elsewhere.",
    ]
    assert len(said.splitlines()) == len(expected)
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(expected, said.splitlines())), said
    assert (pictures / "a-mask.png").read_bytes() == before and not list(out.glob("*.tmp"))


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_written(place, pictures, capsys):
    (pictures.parent / "file").write_text("in the way")
    assert main(["predict", str(pictures), "--out", str(pictures.parent / place)]) == 1
    assert re.fullmatch(r".*file\S* cannot be written to \(.*\); give another --out.\n", capsys.readouterr().err)


def test_two_links_to_one_picture_are_two_and_those_that_lead_nowhere_are_said(pictures, capsys):
    folder = pictures.parent / "links"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.png").symlink_to(pictures / "whole 10.png")
    (folder / "c.png").symlink_to(pictures / "gone.png")
    (folder / "d.png").symlink_to(folder / "d.png")
    assert main(["predict", str(folder), "--out", str(pictures.parent / "out"), *SMALL]) == 1
    printed, said = capsys.readouterr()
    assert [Path(json.loads(line)["file"]).name for line in printed.splitlines()] == ["a.png", "b.png"]
    gone, loop = said.splitlines()
    assert gone.startswith(f"{folder / 'c.png'} is missing") and loop.startswith(f"{folder / 'd.png'} cannot be read as a picture")


def test_a_damaged_picture_takes_no_name_from_a_good_one(pictures, capsys):
    (pictures / "whole 10.jpg").write_bytes(b"cut")
    each = [str(pictures / f"whole 10.{ending}") for ending in ("jpg", "png")]
    assert main(["predict", *each, "--out", str(pictures.parent / "out"), *SMALL]) == 1
    printed, said = capsys.readouterr()
    assert [json.loads(line)["file"] for line in printed.splitlines()] == each[1:] and said.startswith(each[0])


def test_the_mask_of_an_earlier_picture_is_not_left_for_one_that_is_damaged(pictures, capsys):
    latest, out = pictures / "whole 10.png", pictures.parent / "out"
    assert main(["predict", str(latest), "--out", str(out), *SMALL]) == 0 and len(list(out.iterdir())) == 2
    latest.write_bytes(latest.read_bytes()[:100])
    assert main(["predict", str(latest), "--out", str(out), *SMALL]) == 1 and list(out.iterdir()) == []
    assert capsys.readouterr().err.startswith(f"{latest} cannot be read as a picture")


def test_masks_that_a_person_drew_are_neither_replaced_nor_deleted(pictures, steel, capsys):
    """Not by the mask of a good picture, nor with those of a damaged one; nor a mask that was drawn better after it was predicted."""
    out = pictures.parent / "masks"
    out.mkdir()
    Image.fromarray(steel).save(pictures / "whole 8.png")
    (pictures / "cut.png").write_bytes(b"cut")
    for name in ("whole 10-mask", "cut-overlay"):
        Image.fromarray(np.zeros((128, 128), np.uint8)).save(out / f"{name}.png")
    drawn = {path: path.read_bytes() for path in out.iterdir()}
    (pictures / "deep.tif").unlink()
    call = ["predict", str(pictures), "--out", str(out), *SMALL]
    assert main(call) == 1
    printed, said = capsys.readouterr()
    assert [Path(json.loads(line)["file"]).name for line in printed.splitlines()] == ["whole 8.png", "whole 9.JPG"]
    assert said.splitlines()[1:] == [
        f"{pictures / picture} would be written to {out / file}, which anet predict did not write; move that file or give another --out."
        for picture, file in (("cut.png", "cut-overlay.png"), ("whole 10.png", "whole 10-mask.png"))
    ]
    assert all(path.read_bytes() == before for path, before in drawn.items()) and not (out / "whole 10-overlay.png").exists()
    Image.open(out / "whole 8-mask.png").save(out / "whole 8-mask.png", compress_level=9)  # as another program does
    assert main(call) == 1 and f"written to {out / 'whole 8-mask.png'}, which anet predict did not write" in capsys.readouterr().err


def test_what_predict_wrote_is_not_taken_for_a_picture(pictures, capsys):
    """Written into the folder of the pictures, which is given again, and as a shell gives its files."""
    (pictures / "deep.tif").unlink()
    (pictures / "notes.txt").unlink()
    first = {}
    for shell in (False, True):
        given = [pictures, *(sorted(pictures.iterdir()) if shell else ())]
        assert main(["predict", *map(str, given), "--out", str(pictures), *SMALL]) == 0
        printed, said = capsys.readouterr()
        lines = {line["file"]: line for line in map(json.loads, printed.splitlines())}
        first = first or lines
        assert {file: line["regions"] for file, line in lines.items()} == {file: line["regions"] for file, line in first.items()}
    assert len(first) == 2 and len(list(pictures.iterdir())) == 2 + 4
    assert said.startswith(f"passed over: {pictures / 'whole 10-mask.png'}, {pictures / 'whole 10-overlay.png'}, ") and "(4 in all)" in said
    assert len(pictures_in(pictures)) == 2  # and int8 takes no range from a mask


def test_a_smaller_threshold_marks_more(steel, network):
    image = np.repeat(steel[..., None], 3, axis=2)
    expected = logits(network, image)
    mask, cut = Segmenter("neu-inclusion", threads=1, threshold=0.1)(image), math.log(0.1 / 0.9)
    assert not ((expected > cut) != mask)[np.abs(expected - cut) > 1e-3].any() and mask.sum() > (expected > 0).sum()


def test_an_export_that_cannot_be_written_leaves_what_was_there(tmp_path, capsys):
    (tmp_path / "anet.bin").mkdir()
    (tmp_path / "anet.xml").write_text("as before")
    assert main(["export", "--format", "openvino", "--size", "32", "--out", str(tmp_path / "anet.xml")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path / 'anet.xml'} and the .bin beside it cannot be written") and len(said.splitlines()) == 1
    assert (tmp_path / "anet.xml").read_text() == "as before" and len(list(tmp_path.iterdir())) == 2


def test_the_short_name_of_weights_is_that_of_their_card():
    for card in (records.RESULTS / "weights").glob("*.md"):
        name = re.search("--weights ([^ ]+) --out", card.read_text()).group(1)
        assert weights_file(name) == card.with_suffix(".safetensors") or ROOT / name == card.with_suffix(".safetensors")


def test_weights_that_are_none(tmp_path, capsys):
    whole = weights_file("neu-inclusion")
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-1000])
    weights.save(build("A-Net:light"), "A-Net", tmp_path / "other.safetensors")
    save_file(load_file(whole), tmp_path / "stranger.safetensors", {"model": "B-Net"})
    save_file({key: value * torch.nan if key.endswith("0.weight") else value for key, value in load_file(whole).items()}, tmp_path / "lost.safetensors", {"model": "A-Net"})
    number = openvino.opset13.parameter([1, 2], name="number")
    openvino.save_model(openvino.Model([openvino.opset13.add(number, np.ones((1, 2), np.float32))], [number]), tmp_path / "sum.xml")
    picture = openvino.opset13.parameter([1, -1, -1, 3], name="picture")
    planes = openvino.opset13.transpose(picture, np.array([0, 3, 1, 2]))
    free = openvino.Model([openvino.opset13.reduce_sum(planes, np.array([1]), keep_dims=True)], [picture])
    openvino.save_model(free, tmp_path / "free.xml")
    for name, xml, numbers in (("cut", slice(-100), slice(None)), ("short", slice(None), slice(0))):
        (tmp_path / f"{name}.xml").write_bytes((tmp_path / "sum.xml").read_bytes()[xml])
        (tmp_path / f"{name}.bin").write_bytes((tmp_path / "sum.bin").read_bytes()[numbers])
    for name, said in {
        tmp_path / "gone.xml": ".*gone.xml does not exist; export the network again, and keep .xml and .bin together.",
        tmp_path / "cut.xml": ".*cut.xml and the .bin beside it are not a whole model of OpenVINO; export the network again.",
        tmp_path / "short.xml": ".*short.xml and the .bin beside it are not a whole model of OpenVINO; export the network again.",
        tmp_path / "sum.xml": ".*sum.xml is not of a network from a picture of one size to its mask; give a file that anet export wrote.",
        tmp_path / "free.xml": ".*free.xml is not of a network from a picture of one size to its mask; give a file that anet export wrote.",
        "bolts": "there are no weights for 'bolts'; known: .*neu-inclusion, .*; or give the path of a .safetensors file, or of an .xml that anet export wrote.",
        tmp_path / "model.pt": "there are no weights for '.*model.pt'; known: .*",
        "neu-inclusion:B-Net": "there are no weights for 'neu-inclusion:B-Net'; known: .*neu-inclusion:A-Net-light.wide.jump, .*",
        tmp_path / "anet.onnx": ".*anet.onnx is for another runtime; give a .safetensors file, or an .xml that anet export wrote.",
        tmp_path / "gone.safetensors": ".*gone.safetensors is no file; .*",
        tmp_path / "cut.safetensors": ".*cut.safetensors is not a whole safetensors file .*",
        tmp_path / "other.safetensors": ".*other.safetensors says it holds A-Net, but its tensors are another network's.",
        tmp_path / "lost.safetensors": ".*lost.safetensors holds weights that are no numbers, with which nothing is ever marked; fetch or train it again.",
        tmp_path / "stranger.safetensors": ".*stranger.safetensors does not say which network it is of, or names an unknown one .'B-Net'.*",
    }.items():
        assert main(["predict", str(tmp_path), "--weights", str(name), "--out", str(tmp_path / "out")]) == 1
        assert re.fullmatch(f"{said}\n", capsys.readouterr().err)


@pytest.mark.parametrize("option, value, said", [
    ("--precision", "int3", "this CPU does not compute in 'int3'; choose from f32.*"),
    ("--precision", "int8", 'int8 is what a file holds: write one with "anet export --precision int8" and give it as --weights, .*'),
    ("--tile", "100", "tiles of 100 that share 50 pixels are impossible; .*"),
    ("--threshold", "1", "the threshold 1 is no probability between 0 and 1; .*"),
    ("--overlap", "224", "tiles of 224 that share 224 pixels are impossible; .*"),  # the side that it was trained on
])
def test_impossible_settings(option, value, said, pictures, capsys):
    assert main(["predict", str(pictures), option, value, "--out", str(pictures / "out")]) == 1
    assert re.fullmatch(f"{said}\n", capsys.readouterr().err)


@pytest.mark.parametrize("arguments", [
    ["predict", "x.png"], ["serve"], ["bench", "--size", "100"], ["bench", "--size", "224x"], ["bench", "--threads", "0"],
    ["predict", "x.png", "--out", "y", "--white", "70000"], ["export", "--format", "tflite"],
])
def test_what_is_no_command_line(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and "usage: anet" in capsys.readouterr().err


def test_a_link_that_leads_nowhere_at_all_and_a_picture_too_large_for_memory_leave_the_others(pictures, tmp_path, capsys, monkeypatch):
    for name in ("long.png", "long.txt"):
        (pictures / name).symlink_to("z" * 300)  # of which even the question what it is fails

    def limited(image, mask):
        if image.shape[:2] == (60, 50):
            raise MemoryError
        return overlay(image, mask)

    monkeypatch.setattr(marking, "overlay", limited)
    assert main(["predict", str(pictures), "--out", str(tmp_path / "out"), *SMALL]) == 1
    printed = capsys.readouterr()
    assert [Path(json.loads(line)["file"]).name for line in printed.out.splitlines()] == ["whole 10.png"]
    assert f"{pictures / 'whole 9.JPG'} does not fit into memory; cut it into parts, or give a smaller --tile.\n" in printed.err
    assert str(pictures / "long.png") in printed.err and "Traceback" not in printed.err
    assert not (tmp_path / "out" / "whole 9-mask.png").exists()  # the mask is written last


def test_a_large_picture_is_cut_and_its_parts_are_those_of_the_tiles(steel, network, segmenter):
    image = np.repeat(np.hstack([steel, steel[::-1]])[:100, :200, None], 3, axis=2)
    mask, milliseconds = segmenter.timed(image)
    assert mask.shape == (100, 200) and segmenter.compiled.cache_info().currsize == 1 and milliseconds > 0
    for rows, columns in ((slice(0, 64), slice(0, 64)), (slice(36, 100), slice(136, 200))):  # of two corners, away from other tiles
        expected = logits(network, image[rows, columns])
        corner = np.s_[:40, :40] if rows.start == 0 else np.s_[-40:, -40:]
        assert not ((expected > 0) != mask[rows, columns])[corner][np.abs(expected[corner]) > 1e-3].any()


def test_tiles_may_touch_and_their_times_are_added(steel, network, monkeypatch):
    segmenter = Segmenter(tile=64, overlap=0, threads=1)
    assert segmenter.compiled((64, 64)).get_property("INFERENCE_NUM_THREADS") == 1
    ticks = count()
    monkeypatch.setattr(inference.time, "perf_counter", lambda: next(ticks))  # a second for each time that it is read
    image = np.repeat(steel[:64, :, None], 3, axis=2)
    mask, milliseconds = segmenter.timed(image)
    assert milliseconds == 2000
    for left in (0, 64):
        expected = logits(network, image[:, left : left + 64])
        assert not ((expected > 0) != mask[:, left : left + 64])[np.abs(expected) > 1e-3].any()


def test_threads_that_share_a_segmenter_get_the_masks_of_their_own_pictures(steel, segmenter):
    images = [np.repeat(steel[top : top + 64, :64, None], 3, axis=2) for top in (0, 64)]
    masks = [segmenter(image) for image in images]
    assert not np.array_equal(*masks)
    with ThreadPoolExecutor(2) as pool:
        for i, mask in zip(range(80), pool.map(segmenter, images * 40)):
            assert np.array_equal(mask, masks[i % 2])


def test_small_regions_are_taken_for_sound(pictures, tmp_path, capsys):
    found = {}
    for least in ("1", "40"):
        assert main(["predict", str(pictures / "whole 10.png"), "--threshold", "0.3", "--min-pixels", least, "--out", str(tmp_path / least)]) == 0
        found[least] = json.loads(capsys.readouterr().out)
    kept = [region for region in found["1"]["regions"] if region["pixels"] >= 40]
    assert 0 < len(kept) < len(found["1"]["regions"]) and found["40"]["regions"] == kept
    assert found["40"]["defect_pixels"] == sum(region["pixels"] for region in kept) == (np.asarray(Image.open(found["40"]["mask"])) == 255).sum()


def test_pictures_of_the_same_name_in_subfolders_keep_their_folders(pictures, tmp_path, capsys):
    line, out = tmp_path / "line", tmp_path / "out"
    for camera in ("cam10/day1", "cam2/day1", ".cache"):
        (line / camera).mkdir(parents=True)
        shutil.copy(pictures / "whole 10.png", line / camera / "0001.png")
    (line / "cam2" / "notes.txt").write_text("cleaned")
    (line / "linked").symlink_to(pictures, target_is_directory=True)
    assert main(["predict", str(line), "--out", str(out)]) == 1
    assert re.search(f"{line} holds no picture that ends in .*; give a folder that does, or --recursive to anet predict for its subfolders", capsys.readouterr().err)
    for again in (False, True):  # what was written into the folder itself is no picture the second time
        assert main(["predict", str(line), "--recursive", "--out", str(line)]) == 0
        printed = capsys.readouterr()
        found = [json.loads(text) for text in printed.out.splitlines()]
        assert [Path(one["file"]).parent for one in found] == [line / "cam2" / "day1", line / "cam10" / "day1"]
        assert all(Path(one["mask"]) == Path(one["file"]).with_name("0001-mask.png") and Path(one["mask"]).is_file() for one in found)
        assert f"({6 if again else 2} in all)" in printed.err and ("0001-mask.png" in printed.err) == again
    assert main(["predict", str(line), str(line / "cam2" / "day1"), "--recursive", "--out", str(out)]) == 0  # the first that holds it counts
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png")) == [
        f"{camera}/0001-{kind}.png" for camera in ("cam10/day1", "cam2/day1") for kind in ("mask", "overlay")
    ]


def test_a_subfolder_that_cannot_be_read_is_told_and_the_others_are_done(pictures, tmp_path, capsys, monkeypatch):
    line = tmp_path / "line"
    for camera in ("left", "right"):
        (line / camera).mkdir(parents=True)
        shutil.copy(pictures / "whole 10.png", line / camera)
    scandir = os.scandir

    def locked(folder):  # as where its permissions forbid it, which do not bind who may do everything
        if Path(folder).name == "left":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", locked)
    assert main(["predict", str(line), "--recursive", "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert "Permission denied" in printed.err and str(line / "left") in printed.err
    assert [Path(json.loads(line)["file"]).parent.name for line in printed.out.splitlines()] == ["right"]


def test_a_test_tells_what_each_threshold_finds(tmp_path, capsys):
    folder = draw(tmp_path / "squares")
    assert main(["test", "--dataset", str(folder), "--weights", "neu-inclusion", "--threads", "1"]) == 0
    first, head, *lines = capsys.readouterr().out.splitlines()
    samples, segmenter = load(folder, "test"), Segmenter("neu-inclusion", threads=1)
    assert first == f"neu-inclusion on {len(samples.ids)} pictures, 0 of them sound" and head.split() == ["IoU", "found", "right", "false", "alarms"]
    table = {float(line.split()[0]): line.split()[1:] for line in lines if line != "threshold                               " and line.strip() != "threshold"}
    tp, fn, fp = confusion(np.stack([segmenter(image) for image in samples.images]), samples.masks).sum(0)
    assert table[0.5] == [f"{100 * part / whole:.1f}" if whole else "-" for part, whole in ((tp, tp + fn + fp), (tp, tp + fn), (tp, tp + fp), (0, 0))]
    found = [float(row[1]) for row in table.values()]
    assert found == sorted(found, reverse=True) and found[0] > found[-1]
    none = samples.masks & False
    alarms = at_thresholds(segmenter, replace(samples, masks=none))
    marked = [100 * np.mean([(segmenter.logits(image)[0] > math.log(t / (1 - t))).any() for image in samples.images]) for t in alarms.index]
    assert alarms["found"].isna().all() and alarms["false alarms"].tolist() == marked
    sizes = sorted({region["pixels"] for image in samples.images for region in regions(segmenter(image))})
    assert main(["test", "--dataset", str(folder), "--weights", "neu-inclusion", "--threads", "1", "--min-pixels", str(sizes[-1])]) == 0
    kept = np.stack([without_specks(segmenter(image), sizes[-1]) for image in samples.images])
    tp, fn, fp = confusion(kept, samples.masks).sum(0)
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("0.50"))
    assert len(sizes) > 1 and kept.any() and row[1:4] == [f"{100 * part / whole:.1f}" for part, whole in ((tp, tp + fn + fp), (tp, tp + fn), (tp, tp + fp))]


def test_a_set_is_tested_with_its_own_network_or_one_that_is_named(tmp_path, capsys):
    assert main(["test", "--dataset", str(draw(tmp_path / "neu-patches")), "--threads", "1"]) == 0
    assert capsys.readouterr().out.startswith("neu-patches on 2 pictures, ")
    assert main(["test", "--dataset", str(draw(tmp_path / "squares"))]) == 1
    assert capsys.readouterr().err.startswith("there are no weights for 'squares'; known: ")


def test_a_network_is_not_tested_on_a_split_that_it_was_not_trained_on(tmp_path, capsys):
    folder = draw(tmp_path / "neu-patches")
    assert main(["test", "--dataset", str(folder), "--split-seed", "1"]) == 1
    said = capsys.readouterr().err
    assert "was trained on split0 of neu-patches, and so on pictures that split1 of neu-patches tests on" in said and said.count("\n") == 1
    for weights, dataset in (("neu-patches-random", "neu-patches"), ("neu-patches", "neu-patches-random")):
        assert main(["test", "--dataset", str(draw(tmp_path / "other" / dataset)), "--weights", weights]) == 1
        assert f"was trained on split0 of {weights}, and so on pictures that split0 of {dataset} tests on" in capsys.readouterr().err
    assert main(["test", "--dataset", str(folder), "--weights", "neu-patches-proposed", "--threads", "1"]) == 0  # trained on the same pictures
    assert main(["test", "--dataset", str(folder), "--weights", "neu-inclusion", "--split-seed", "1", "--threads", "1"]) == 0
    assert capsys.readouterr().err == ""
    renamed = shutil.copy(weights_file("neu-patches"), tmp_path / "line.safetensors")
    assert main(["test", "--dataset", str(folder), "--weights", str(renamed), "--split-seed", "1", "--threads", "1"]) == 0
    assert capsys.readouterr().err == f"{renamed} does not say what it was trained on; some of it may be among what split1 tests on.\n"


def test_the_python_interface_gives_what_predict_gives(steel, network, segmenter):
    image = np.repeat(steel[:60, :50, None], 3, axis=2)
    mask, expected = segmenter(image), predict(network, image)
    assert mask.dtype == bool and mask.shape == expected.shape
    assert not (mask != expected)[np.abs(logits(network, image)) > 1e-3].any()
    with pytest.raises(ValueError, match=r"the picture is uint8 \(60, 50\); give uint8 \(H, W, 3\), as"):
        segmenter(image[..., 0])


def test_tiles_are_as_large_as_the_pictures_that_the_network_was_trained_on(tmp_path):
    assert Segmenter("neu-inclusion-random").tile == 224
    shutil.copy(weights_file("neu-inclusion"), tmp_path / "bolts--A-Net--tuned--split0--seed0.safetensors")
    assert inference.size(tmp_path / "bolts--A-Net--tuned--split0--seed0.safetensors") == (512, 512)


@pytest.mark.parametrize("form, name", [("openvino", "anet.xml"), ("onnx", "anet.onnx")])
def test_an_exported_file_computes_the_same(form, name, tmp_path, capsys):
    torch.manual_seed(0)
    network, path = build("A-Net:none").eval(), tmp_path / "new" / name  # the smallest to export
    weights.save(network, "A-Net:none", tmp_path / "none.safetensors")
    chosen = ["--weights", str(tmp_path / "none.safetensors"), "--size", "64x96"]
    assert main(["export", "--format", form, *chosen, "--out", str(path)]) == 0
    whole = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    image = to_input(whole)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image)).numpy()
    taken, image = {
        "onnx": ('"image", float32 (1, 3, 64, 96), RGB, each value / 127.5 - 1', image),
        "openvino": ('"picture", uint8 (1, 64, 96, 3), RGB', whole[None]),
    }[form]
    assert capsys.readouterr().out == f'{path}: from {taken}, to "logits", float32 (1, 1, 64, 96), above 0 for a defect\n'
    if form == "openvino":  # predict takes the file, for pictures of other sizes too
        from_file, from_weights = (Segmenter(file, threads=1) for file in (path, tmp_path / "none.safetensors"))
        picture = np.random.default_rng(0).integers(0, 255, (60, 50, 3), np.uint8)
        assert from_file.tile == 96 and np.array_equal(from_file(picture), from_weights(picture))
        assert main(["export", "--weights", str(path), "--format", "onnx", "--out", str(tmp_path / "again.onnx")]) == 1
        assert capsys.readouterr().err == f"{path} is an exported file, which anet predict, test and bench take; give the weights that it was made from.\n"
    exported = openvino.Core().read_model(path)
    model = deployment.compile_for_cpu(exported, "f32", threads=1)
    (taken,), (given,) = model.inputs, model.outputs
    assert taken.get_names() >= {{"onnx": "image", "openvino": "picture"}[form]} and given.get_names() >= {"logits"}
    assert np.abs(model(image)[0] - expected).max() < 1e-4
    # The rewrites, of which one puts a convolution in the place of the last deconvolution, are OpenVINO's alone.
    assert ("ConvolutionBackpropData" in {operator.get_type_name() for operator in exported.get_ops()}) == (form == "onnx")


def test_a_camera_of_12_bits_is_not_taken_for_the_dark(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    Image.fromarray(np.full((32, 32), 4095, np.uint16)).save(folder / "a.png")
    assert main(["predict", str(folder), "--out", str(out), *SMALL]) == 1
    assert "has 16 bits and no brighter pixel than 16 of 255; give white, 4095 for a camera of 12 bits, or 65535" in capsys.readouterr().err
    assert main(["predict", str(folder), "--out", str(out), "--white", "65535", *SMALL]) == 0


def test_weights_know_the_size_and_the_white_of_own_pictures(tmp_path, capsys):
    """Those of a camera of 12 bits, 60x70: predict, from the weights and from an exported file, and export need not be told."""
    source, draw = tmp_path / "source", np.random.default_rng(0)
    for kind in ("images", "masks"):
        (source / kind).mkdir(parents=True)
    for i in range(4):
        Image.fromarray(draw.integers(0, 4096, (60, 70), np.uint16)).save(source / "images" / f"{i}.png")
        Image.fromarray(np.where(draw.random((60, 70)) < 0.1, 255, 0).astype(np.uint8)).save(source / "masks" / f"{i}.png")
    torch.manual_seed(0)
    file, exported = tmp_path / "none.safetensors", tmp_path / "anet.xml"
    weights.save(build("A-Net:none"), "A-Net:none", file, own.settings(own.prepare(source, tmp_path / "set", white=4095)))
    assert main(["export", "--format", "openvino", "--weights", str(file), "--out", str(exported)]) == 0
    assert "uint8 (1, 64, 96, 3)" in capsys.readouterr().out
    for given in (file, exported):
        segmenter = Segmenter(given, threads=1)
        assert (segmenter.white, segmenter.tile) == (4095, 96)
        out = tmp_path / given.stem
        assert main(["predict", str(source / "images" / "0.png"), "--weights", str(given), "--out", str(out)]) == 0
        assert np.array_equal(np.asarray(Image.open(out / "0-mask.png")) == 255, segmenter(read_image(source / "images" / "0.png", 4095)))
    weights.save(build("A-Net:none"), "A-Net:none", file, {"size": [60, 70], "white": None})
    assert inference.white(file) is None  # so that a dark picture is refused


def test_int8_sees_of_a_large_picture_what_predict_sees(tmp_path):
    large = np.random.default_rng(0).integers(0, 255, (96, 100, 3), np.uint8)
    Image.fromarray(large).save(tmp_path / "a.png")
    assert np.array_equal(calibration(tmp_path, (32, 64), None), to_input(large[32:64, 18:82]))
    assert np.array_equal(calibration(tmp_path, (32, 128), None), to_input(np.pad(large[32:64], ((0, 0), (0, 28), (0, 0)), "reflect")))
    Image.fromarray(np.full((40, 40), 4095, np.uint16)).save(tmp_path / "b.png")
    assert calibration(tmp_path, (64, 64), 4095)[1].min() == 1  # white


def test_int8_sees_no_more_pictures_than_it_needs_of_all_parts_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "CALIBRATION", 3)
    for i in range(7):
        Image.fromarray(np.full((32, 32), i, np.uint8)).save(tmp_path / f"{i}.png")
    assert np.array_equal(calibration(tmp_path, (32, 32), None)[:, 0, 0, 0], [np.float32(i / HALF - 1) for i in (0, 3, 6)])


def test_a_program_uses_an_exported_file_as_the_book_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    page = (ROOT / "book" / "program.md").read_text()
    [python], [cpp, alone], [build, build_alone] = (re.findall(f"```{language}\n(.*?)```", page, re.DOTALL) for language in ("python", "cpp", "bash"))
    [export] = re.findall("^anet (export .*--out anet.xml)$", page, re.MULTILINE)
    assert main(export.split()) == 0
    result, segmenter = {}, Segmenter("neu-inclusion")
    for height, width in ((200, 190), (224, 224)):
        Image.fromarray(picture[:height, :width]).save("picture.png")
        exec(python, result)
        assert result["mask"].any() and np.array_equal(result["mask"], segmenter(picture[:height, :width]))

    if not shutil.which("g++"):
        pytest.skip("g++ is not here; the program in C++ was not built.")
    Path("mark.cpp").write_text(cpp)
    subprocess.run(["bash", "-ec", build], check=True, env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    marked = subprocess.run(["./mark", "anet.xml"], input=picture.tobytes(), capture_output=True, check=True).stdout
    assert np.array_equal(np.frombuffer(marked, np.uint8).reshape(224, 224) == 255, result["mask"])
    for arguments, data in ((["anet.xml"], picture.tobytes()[1:]), ([], b""), (["none.xml"], b"")):
        failed = subprocess.run(["./mark", *arguments], input=data, capture_output=True)
        assert failed.returncode == 1 and failed.stderr

    [export] = re.findall("^anet (export .*--out anet.cpp)$", page, re.MULTILINE)
    assert main(export.split()) == 0
    Path("mark.cpp").write_text(alone)
    subprocess.run(["bash", "-ec", build_alone], check=True)
    marked = subprocess.run(["./mark"], input=picture.tobytes(), capture_output=True, check=True).stdout
    assert np.array_equal(np.frombuffer(marked, np.uint8).reshape(224, 224) == 255, result["mask"])
    assert subprocess.run(["./mark"], input=picture.tobytes()[1:], capture_output=True).returncode == 1


def test_int8_takes_its_ranges_from_pictures(tmp_path, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    torch.manual_seed(0)
    weights.save(build("A-Net:none"), "A-Net:none", tmp_path / "none.safetensors")
    chosen = ["--weights", str(tmp_path / "none.safetensors"), "--size", "32", "--precision", "int8"]
    path = tmp_path / "anet.xml"
    assert main(["export", "--format", "openvino", *chosen, "--pictures", str(tmp_path / "a.png"), "--out", str(path)]) == 0
    assert any(operator.get_type_name() == "FakeQuantize" for operator in openvino.Core().read_model(path).get_ops())
    compiled = Segmenter(path, threads=1, overlap=16).compile((64, 32))  # of another size than the file's, still in int8
    precisions = {operator.get_rt_info()["runtimePrecision"].value for operator in compiled.get_runtime_model().get_ops()}
    assert precisions & {"i8", "u8"}  # which of them the kernels are called by depends on the processor
    capsys.readouterr()
    assert main(["export", "--format", "openvino", *chosen, "--out", str(path)]) == 1
    assert capsys.readouterr().err == "int8 needs --format openvino and --pictures FOLDER to take its ranges from; f32 needs no pictures.\n"


def test_export_to_a_file_of_another_kind(tmp_path, capsys):
    assert main(["export", "--format", "onnx", "--white", "4095", "--out", str(tmp_path / "anet.onnx")]) == 1
    assert capsys.readouterr().err.startswith("--white is for --format openvino, whose files remember it; for another bring the picture to 8 bits first")
    assert main(["export", "--format", "onnx", "--out", str(tmp_path / "anet.xml")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'anet.xml'} cannot hold onnx; give a file that ends in .onnx as --out.\n"
    assert list(tmp_path.iterdir()) == []


def test_bench_has_a_row_for_each_precision_and_number_of_threads(tmp_path, capsys):
    weights.save(build("A-Net:none"), "A-Net:none", tmp_path / "none.safetensors")  # the smallest to export
    assert main(["bench", "--weights", str(tmp_path / "none.safetensors"), "--size", "32", "--iterations", "3", "--threads", "1"]) == 0
    machine, _, _, *rows = capsys.readouterr().out.splitlines()
    assert "32x32" in machine
    assert [row.split()[-6:-4] for row in rows] == [[precision, "1"] for precision in (*deployment.native_precisions(), "int8")]
    for median, p5, p95, fps in (map(float, row.split()[-4:]) for row in rows):
        assert 0 < p5 <= median <= p95 and fps > 0


@pytest.mark.skipif(not native.precisions(), reason="no C++ compiler on this machine")
def test_bench_has_a_net_in_cpp_beside_it(capsys):
    assert main(["bench", "--size", "32", "--iterations", "2", "--threads", "1"]) == 0
    rows = [line.split()[-6:-4] for line in capsys.readouterr().out.split("C++")[1].splitlines()]
    assert rows == [[precision, "1"] for precision in native.precisions()]


def test_export_to_cpp(tmp_path, capsys):
    path = tmp_path / "anet.cpp"
    assert main(["export", "--format", "cpp", "--size", "64x96", "--out", str(path)]) == 0
    assert capsys.readouterr().out == f'{path}: from "picture", uint8 (64, 96, 3), RGB, to "logits", float32 (1, 1, 64, 96), above 0 for a defect\n'
    assert "void anet(const uint8_t *picture, float *logits, int threads)" in path.read_text()
    assert main(["predict", "a.png", "--weights", str(path), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"{path} is for another runtime; give a .safetensors file, or an .xml that anet export wrote.\n"
    for refused in (["--weights", "neu-inclusion:ENet"], ["--white", "4095"], ["--precision", "int8", "--pictures", str(tmp_path)]):
        path.unlink(missing_ok=True)
        assert main(["export", "--format", "cpp", *refused, "--out", str(path)]) == 1
        assert capsys.readouterr().err.count("\n") == 1 and not path.exists()


def test_bench_of_an_exported_file(tmp_path, capsys):
    weights.save(build("A-Net:none"), "A-Net:none", tmp_path / "none.safetensors")
    assert main(["export", "--weights", str(tmp_path / "none.safetensors"), "--format", "openvino", "--size", "64x32", "--out", str(tmp_path / "a.xml")]) == 0
    for size, of in (([], "64x32"), (["--size", "32x96"], "32x96")):
        capsys.readouterr()
        assert main(["bench", "--weights", str(tmp_path / "a.xml"), *size, "--iterations", "2", "--threads", "1"]) == 0
        machine, _, _, *rows = capsys.readouterr().out.splitlines()
        assert f", {of}, " in machine and [row.split()[-6] for row in rows] == deployment.native_precisions()


def test_trained_weights_are_found_again(squares, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "short", replace(QUICK, name="short", iterations=3, batch_size=4))
    before = torch.get_num_threads()
    assert main(["train", "--dataset", str(squares), "--protocol", "short", "--threads", "3", "--results", str(tmp_path / "results")]) == 0
    torch.set_num_threads(before)
    said = re.search(r"^IoU \d+\.\d\d % on 2 test images; weights in (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert weights.load(Path(said[1])) and (tmp_path / "results" / "runs" / f"{Path(said[1]).stem}.json").is_file()
    assert records.read(tmp_path / "results" / "runs" / f"{Path(said[1]).stem}.json")["threads"] == 3
    Path(said[1]).rename(tmp_path / "moved")
    assert main(["train", "--dataset", str(squares), "--protocol", "short", "--results", str(tmp_path / "results")]) == 0
    assert f"its weights {said[1]} are not at hand" in capsys.readouterr().out
    reader, writer = os.pipe()
    os.close(reader)  # as "| head" does when it has had enough: quiet, too
    with monkeypatch.context() as patch, os.fdopen(writer, "w", buffering=1) as closed:
        patch.setattr(sys, "stdout", closed)
        assert main(["train", "--dataset", str(squares), "--protocol", "short", "--results", str(tmp_path / "results")]) == 1
    assert capsys.readouterr().err == ""
    assert main(["train", "--dataset", "no such set"]) == 1
    assert capsys.readouterr().err.startswith("unknown data set 'no such set'; known: synthetic, ")


def test_an_interrupted_training_says_from_where_it_goes_on(squares, tmp_path, capsys, monkeypatch):
    """The checkpoint is of every second iteration; the interrupt comes after the fifth."""
    monkeypatch.setitem(PROTOCOLS, "short", replace(QUICK, name="short", iterations=6, batch_size=4))
    monkeypatch.setitem(training.CHECKPOINT_EVERY, "cpu", 2)
    call = ["train", "--dataset", str(squares), "--model", "A-Net:none", "--protocol", "short", "--results", str(tmp_path / "results")]
    for when, where in ((1, 0), (5, 4)):
        def interrupted(done, *_, last=when):
            print(end=f"\r{done}")
            if done == last:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(training, "print_progress", interrupted)
            assert main(call) == 130
        printed, said = capsys.readouterr()
        assert printed.endswith(f"\r{when}\n") and said == f"interrupted; given again, the same command goes on from iteration {where}\n"
    assert main(call) == 0 and "/6" in (printed := capsys.readouterr().out) and "5/6" in printed and "4/6" not in printed


def test_an_interrupt_is_quiet(tmp_path):
    """The installed script, stopped after its first line."""
    folder = draw(tmp_path / "squares", images=200) / "images"
    script = Path(sys.executable).with_name("anet")
    with subprocess.Popen(
        [script, "predict", folder, "--out", tmp_path / "out", *SMALL], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # which a shell has ignored where it runs the tests behind "&"
    ) as process:
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate()
    assert process.returncode == 130 and said == "" and len(rest.splitlines()) < 199
    assert first["file"] == str(folder / "square 0.png") and not list((tmp_path / "out").glob("*.tmp"))
