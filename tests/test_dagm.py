import hashlib
import os
import shutil
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from data_prep import dagm, format

FIRST = {"official": {"Train": 1, "Test": 1}, "Kaggle": {"Train": 1151, "Test": 1}}  # number of each part's first picture
ROOT = {"official": "", "Kaggle": "DAGM_KaggleUpload"}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Class 7 in both layouts: 150 defective pictures and one sound one in each part, the number in the upper left pixels."""
    folders = {}
    for layout, first in FIRST.items():
        folders[layout] = tmp_path_factory.mktemp(layout)
        for part, number in first.items():
            folder = folders[layout] / ROOT[layout] / "Class7" / part
            (folder / "Label").mkdir(parents=True)
            lines = ["\ufeff1", f"{number}\t0\t{number:04d}.PNG\t0\t0"]
            Image.new("L", (512, 512), 90).save(folder / f"{number:04d}.PNG", compress_level=1)
            for defective in range(number + 1, number + 151):
                name = f"{defective:04d}"
                image, mask = np.full((512, 512), 90, np.uint8), np.zeros((512, 512), np.uint8)
                image[0, :2] = divmod(defective, 256)
                mask[100:110, 200 : 200 + defective % 200 + 1] = 255
                Image.fromarray(image).save(folder / f"{name}.PNG", compress_level=1)
                Image.fromarray(mask).save(folder / "Label" / f"{name}_label.PNG", compress_level=1)
                lines.append(f"{defective}\t1\t{name}.PNG\t0\t{name}_label.PNG")
            (folder / "Label" / "Labels.txt").write_text("\n".join(lines), encoding="utf-8")
    return folders


@pytest.mark.parametrize("layout", FIRST)
def test_the_300_defective_pictures(trees, layout):
    made = list(dagm.samples("dagm-class7", trees[layout]))
    expected = {f"{part.lower()}_{number + i:04d}": number + i for part, number in FIRST[layout].items() for i in range(1, 151)}
    assert sorted(name for name, _, _ in made) == sorted(expected) and len(expected) == dagm.IMAGES
    for name, image, mask in made:
        assert image.size == mask.size == (512, 512)
        assert 256 * image.getpixel((0, 0)) + image.getpixel((1, 0)) == expected[name]
        assert np.count_nonzero(mask) == 10 * (expected[name] % 200 + 1)


def test_a_class_in_a_folder_of_its_own(trees, tmp_path):
    os.symlink(trees["official"], tmp_path / "Class7")
    assert next(dagm.samples("dagm-class7", tmp_path))[0] == "train_0002"


@pytest.fixture
def tree(trees, tmp_path):
    """A copy of the official layout, in hard links: a file is replaced, not written to."""
    return shutil.copytree(trees["official"], tmp_path / "DAGM", copy_function=os.link)


def replace(path, picture):
    path.unlink()
    picture.save(path)


PICTURE, LABEL = "Class7/Train/0002.PNG", "Class7/Train/Label/0002_label.PNG"
FAULTS = {
    "a label is missing": (lambda tree: (tree / LABEL).unlink(), "0002_label.PNG is missing, but .*Labels.txt lists it"),
    "a label too many": (
        lambda tree: os.link(tree / LABEL, (tree / LABEL).with_name("0999_label.PNG")), "0999_label.PNG is not listed in "),
    "a label for a missing picture": (lambda tree: (tree / PICTURE).unlink(), "0002.PNG is missing"),
    "a picture of another size": (
        lambda tree: replace(tree / PICTURE, Image.new("L", (256, 512))), "0002.PNG is 256x512 instead of 512x512"),
    "a label of another size": (lambda tree: replace(tree / LABEL, Image.new("L", (512, 500))), "0002_label.PNG is 512x500"),
    "a label of other values": (lambda tree: replace(tree / LABEL, Image.new("L", (512, 512), 9)), "holds the value 9"),
    "half of the class": (lambda tree: shutil.rmtree(tree / "Class7/Test"), "no folder Class7 with Train/Label and Test/Label"),
    "no list": (lambda tree: (tree / "Class7/Test/Label/Labels.txt").unlink(), "Labels.txt is missing"),
    "too few": (
        lambda tree: [(tree / "Class7/Test/Label").rename(tree / "Label"), (tree / "Class7/Test/Label").mkdir(),
                      (tree / "Class7/Test/Label/Labels.txt").touch()], "holds 150 labelled pictures instead of 300"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_one_sentence_that_names_the_file(tree, tmp_path, fault):
    breaks, said = FAULTS[fault]
    breaks(tree)
    with pytest.raises((ValueError, FileNotFoundError), match=said) as error:
        format.write(tmp_path / "dagm-class7", dagm.samples("dagm-class7", tree), dagm.TEST)
    assert str(tree) in str(error.value) and "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["DAGM"]


def test_the_drawn_set_is_the_same_everywhere():
    digest = hashlib.sha256()
    for name, image, mask in islice(dagm.synthetic(), 20):
        assert image.size == mask.size == (512, 512)
        assert set(np.unique(mask)) == {0, 255}
        digest.update(name.encode() + image.tobytes() + mask.tobytes())
    assert digest.hexdigest() == "c5023baaf29896479ac33e8ecbbaaadad884aa83ef4a43b5ff9482ae115a6278"
