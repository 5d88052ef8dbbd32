import json

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image

from data_prep import format, own, polygons
from data_prep.__main__ import main

SQUARE = [[2, 3], [6, 3], [6, 8], [2, 8]]  # 4 x 5 pixels
TRIANGLE = [[10, 10], [18, 10], [10, 18]]


@pytest.fixture
def pictures(tmp_path):
    """Three pictures of 30x20."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, name in enumerate(("plate one.png", "größe.jpg", "sound.bmp")):
        Image.fromarray(np.full((20, 30), 100 + i, np.uint8)).save(folder / name)
    return folder


def labelme(name="plate one.png", shapes=(SQUARE,), **changes) -> dict:
    shapes = [{"label": "scratch", "points": points, "shape_type": "polygon", "group_id": None} for points in shapes]
    return {"version": "5.4.1", "shapes": shapes, "imagePath": name, "imageData": None, "imageWidth": 30, "imageHeight": 20} | changes


def coco(annotations, **changes) -> dict:
    names = ("plate one.png", "größe.jpg", "sound.bmp")
    images = [{"id": 7 + i, "file_name": name, "width": 30, "height": 20} for i, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "scratch"}]} | changes


def annotation(segmentation, image_id=7) -> dict:
    return {"id": 1, "image_id": image_id, "category_id": 1, "segmentation": segmentation, "iscrowd": 0}


def flat(points) -> list:
    return [value for point in points for value in point]


def save(folder, content, name="a.json"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def test_a_pixel_is_defect_where_its_centre_is_inside():
    square = np.zeros((20, 30), bool)
    square[3:8, 2:6] = True
    np.testing.assert_array_equal(polygons.mask([np.array(SQUARE, float)], (30, 20), ""), square)
    np.testing.assert_array_equal(polygons.mask([np.array(SQUARE, float)[::-1] + 0.4], (30, 20), ""), square)
    # Two triangles that share an edge through pixel centres cover their square once: no gap, no overlap.
    upper, lower = ([[1, 1], [9, 1], [9, 9]], [[1, 1], [9, 9], [1, 9]])
    masks = [polygons.mask([np.array(half, float)], (30, 20), "") for half in (upper, lower)]
    assert masks[0].sum() + masks[1].sum() == 64 == (masks[0] | masks[1]).sum()


def test_agrees_with_another_point_in_polygon():
    """Random polygons, many crossing themselves and the border, against Matplotlib's; no centre lies on an edge."""
    rng = np.random.default_rng(0)
    centres = np.stack(np.meshgrid(np.arange(30), np.arange(20)), -1).reshape(-1, 2) + 0.5
    for corners in (3, 4, 7, 40):
        for _ in range(25):
            polygon = rng.uniform((-10, -10), (40, 30), (corners, 2))
            expected = Outline(polygon).contains_points(centres).reshape(20, 30)
            if expected.any():
                np.testing.assert_array_equal(polygons.mask([polygon], (30, 20), ""), expected)


def test_labelme_and_coco_give_the_same_masks(pictures, tmp_path):
    drawn = save(tmp_path / "labelme", labelme(r"C:\steel\plate one.png", (SQUARE, TRIANGLE)), "1.json")
    save(drawn, labelme("../größe.jpg", (TRIANGLE,)), "2.json")
    save(drawn, labelme("sound.bmp", ()), "3.json")
    exported = coco([annotation([flat(SQUARE), flat(TRIANGLE)]), annotation([flat(TRIANGLE)], 8)])
    both = [list(polygons.samples(source, pictures)) for source in (drawn, save(tmp_path / "coco", exported) / "a.json")]
    for (key, image, mask), (other_key, other_image, other_mask) in zip(*both, strict=True):
        assert key == other_key and image.tobytes() == other_image.tobytes() and mask.tobytes() == other_mask.tobytes()
    areas = {key: int((np.asarray(mask) == 255).sum()) for key, _, mask in both[0]}
    # Of the triangle's 8 x 8 pixels 36 have their centre inside or on the slanted edge, which is on the right: outside.
    assert areas == {"plate one": 20 + 28, "größe": 28, "sound": 0}


def test_a_coco_file_as_via_writes_it_is_read(pictures, tmp_path):
    one = polygons.samples(save(tmp_path / "coco", coco([annotation([flat(SQUARE)])])) / "a.json", pictures)
    for given in ("7", 7.0):
        other = polygons.samples(save(tmp_path / "via", coco([annotation(flat(SQUARE), image_id=given)])) / "a.json", pictures)
        assert [np.asarray(mask).sum() for *_, mask in other] == [20 * 255, 0, 0]
    assert [np.asarray(mask).sum() for *_, mask in one] == [20 * 255, 0, 0]


def test_no_drawing_is_passed_over(pictures, tmp_path):
    folder = save(tmp_path / "drawn", labelme(), "a.JSON")
    save(folder / "more", labelme("größe.jpg"))
    (folder / "._a.json").write_bytes(b"\0\5\x16\7")
    save(folder / ".vscode", "{}", "settings.json")
    (folder / own.NOTE).write_text("{}")
    (pictures / "more").mkdir()
    (pictures / "sound.bmp").rename(pictures / "more" / "sound.bmp")
    assert sorted(key for key, *_ in polygons.samples(folder, pictures)) == ["größe", "plate one"]
    with pytest.raises(ValueError, match="sound.bmp lies in a subfolder, which annotations do not name; put all pictures into"):
        list(polygons.samples(folder, pictures, unmasked_sound=True))


def test_a_rectangle_of_labelme_is_its_two_corners(pictures, tmp_path):
    notes = save(tmp_path / "notes", labelme() | {"shapes": [{"points": [SQUARE[2], SQUARE[0]], "shape_type": "rectangle"}]})
    [(_, _, mask)] = polygons.samples(notes, pictures)
    np.testing.assert_array_equal(np.asarray(mask) == 255, polygons.mask([np.array(SQUARE, float)], (30, 20), ""))


def test_pictures_without_a_drawing_are_named_or_taken_for_sound(pictures, tmp_path, capsys):
    notes = tmp_path / "notes"
    for i, name in enumerate(("plate one.png", "größe.jpg")):
        save(notes, labelme(name), f"{i}.json")
    for how, said, count in (([], "left out, as nothing says what is on them: sound (1 in all); if they show no defect, give --unmasked-sound\n", 2), (["--unmasked-sound"], "", 3)):
        name = f"set{count}"
        assert main(["polygons", str(notes), str(pictures), "--name", name, "--out", str(tmp_path), "--test", "1", *how]) == 0
        assert capsys.readouterr().err == said
        rows = {row["id"]: float(row["defect_fraction"]) for row in format.read_manifest(tmp_path / name)}
        assert len(rows) == count and rows.get("sound", 0) == 0 < rows["plate one"]
    Image.new("L", (30, 20)).save(pictures / "sound.png")
    assert main(["polygons", str(notes), str(pictures), "--name", "both", "--out", str(tmp_path), "--unmasked-sound"]) == 1
    assert "sound.png and sound.bmp would have the same name in the data set; keep one." in capsys.readouterr().err


def test_they_become_a_data_set_or_nothing(pictures, tmp_path):
    exported = coco([annotation([flat(SQUARE)]), annotation([flat(TRIANGLE)], 8)])
    source = save(tmp_path / "coco", exported) / "a.json"
    format.write(tmp_path / "steel", polygons.samples(source, pictures), test=1)
    assert sorted(path.name for path in (tmp_path / "steel" / "masks").iterdir()) == ["größe.png", "plate one.png", "sound.png"]
    (pictures / "sound.bmp").unlink()
    with pytest.raises(FileNotFoundError, match="sound.bmp is missing"):
        format.write(tmp_path / "other", polygons.samples(source, pictures), test=1)
    assert not (tmp_path / "other").exists()


def test_a_polygon_may_leave_the_picture_but_not_miss_it(pictures, tmp_path):
    over = save(tmp_path / "over", labelme(shapes=([[-5, -5], [3, -5], [3, 3], [-5, 3]],)))
    (_, _, mask), = polygons.samples(over, pictures)
    assert (np.asarray(mask) == 255).sum() == 9


FAULTS = {
    "not JSON": ("{", "is not JSON"),
    "nested": ("[" * 100_000, "is not JSON"),
    "huge number": (json.dumps(labelme()).replace("30", "3" * 5000), "is not JSON"),
    "a list": ([], "neither labelme's nor COCO's"),
    "something else": ({"a": 1}, "KeyError: 'images'"),
    "no picture": ({"shapes": []}, "KeyError"),
    "text for a number": (labelme(shapes=([["a", 1], [2, 2], [3, 1]],)), "neither labelme's nor COCO's"),
    "not finite": (labelme(shapes=([[float("nan"), 1], [2, 2], [3, 1]],)), "two numbers of pixels"),
    "beyond floats": (labelme(shapes=([[10**400, 1], [2, 2], [3, 1]],)), "two numbers of pixels"),
    "far away": (labelme(shapes=([[1e308, 1], [-1e308, 2], [3, 1]],)), "two numbers of pixels"),
    "two corners": (labelme(shapes=(SQUARE[:2],)), "three corners or more"),
    "a circle": (labelme() | {"shapes": [{"points": SQUARE[:2], "shape_type": "circle"}]}, "holds a circle; draw polygons or rectangles"),
    "outside": (labelme(shapes=([[40, 3], [50, 3], [50, 8]],)), "plate one.png: the polygon from (40.0, 3.0) covers no pixel"),
    "another size": (labelme(imageWidth=31), "says that plate one.png is 31x20, but it is 30x20"),
    "missing picture": (labelme("gone.png"), "gone.png is missing"),
    "no name": (labelme(""), "cannot be read as a picture"),
    "run-length": (coco([annotation({"counts": [0, 5], "size": [20, 30]})]), "run-length mask or none; export polygons"),
    "boxes only": (coco([{"id": 3, "image_id": 7, "bbox": [1, 1, 5, 5]}]), "run-length mask or none; export polygons"),
    "odd": (coco([annotation([[1, 2, 3, 4, 5, 6, 7]])]), "each two numbers of pixels"),
    "unlisted": (coco([annotation([flat(SQUARE)], 99)]), "of a picture that is not listed"),
    "one id": (coco([], images=[{"id": 7, "file_name": "plate one.png"}] * 2), "two pictures by one id"),
    "twice": (coco([], images=[{"id": i, "file_name": f"{i}/plate one.png", "width": 30, "height": 20} for i in (1, 2)]), "keep one"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_annotations_are_one_sentence_that_names_the_file(pictures, tmp_path, fault):
    content, said = FAULTS[fault]
    source = save(tmp_path / "drawn", content)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        list(polygons.samples(source if "shapes" in content else source / "a.json", pictures))
    assert said in str(error.value) and str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_nothing_to_read(pictures, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no JSON"):
        list(polygons.samples(pictures, pictures))
    with pytest.raises(FileNotFoundError, match="gone.json is missing"):
        list(polygons.samples(tmp_path / "gone.json", pictures))


def test_the_command_keeps_white_and_draws_the_split_by_its_seed(tmp_path):
    names = [f"p{i}.png" for i in range(8)]
    for name in names:
        save(tmp_path / "drawn", labelme(name), f"{name}.json")
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 30), 2000, np.uint16)).save(tmp_path / "pictures" / name)

    def made(name, *options):
        call = ["polygons", str(tmp_path / "drawn"), str(tmp_path / "pictures"), "--name", name, "--out", str(tmp_path), "--test", "3", *options]
        return main(call), tmp_path / name

    assert made("dark")[0] == 1 and not (tmp_path / "dark").exists()
    code, folder = made("steel", "--white", "4000")
    assert code == 0 and own.settings(folder) == {"white": 4000}
    assert np.asarray(Image.open(folder / "images" / "p0.png")).max() == 128
    sides = [[row["split"] for row in format.read_manifest(of)] for of in (folder, made("again", "--white", "4000", "--split-seed", "1")[1])]
    assert sides[0] != sides[1]
