import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from data_prep import format, magnetic_tile

TILES = Path(os.environ.get("ANET_DATA", "")) / magnetic_tile.SOURCE
needs_tiles = pytest.mark.skipif(not TILES.is_dir(), reason="the magnetic tiles are not under ANET_DATA")


def put(folder: Path, kind: str, name: str, marked: int, size: tuple[int, int] = (120, 280)) -> None:
    """A drawn tile whose mask has so many pixels above half, and as many just below."""
    path = folder / f"MT_{kind}" / "Imgs" / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size[0] * size[1], np.uint8)
    mask[:marked], mask[marked : 2 * marked] = 128, 127
    Image.fromarray(np.random.default_rng(0).integers(0, 256, size[::-1]).astype(np.uint8)).save(path)
    Image.fromarray(mask.reshape(size[::-1])).save(path.with_suffix(".png"))


@pytest.fixture
def source(tmp_path):
    """The published layout: two tiles under two exposures each, one of them with a defect of another kind in the second."""
    folder = tmp_path / magnetic_tile.SOURCE
    for kind in magnetic_tile.KINDS:
        (folder / f"MT_{kind}" / "Imgs").mkdir(parents=True)
    put(folder, "Crack", "exp1_num_10", 4_800)
    put(folder, "Break", "exp2_num_30", 4_800, (280, 130))
    put(folder, "Fray", "exp1_num_1331", 9_600)
    put(folder, "Fray", "exp2_num_2631", 9_600)
    put(folder, "Uneven", "exp3_num_2640", 9)  # stray pixels
    put(folder, "Free", "exp1_num_50", 0)
    return folder


def test_defects_masks_cut_at_half_and_groups_by_number(source):
    made = {name: (image, mask) for name, image, mask in magnetic_tile.samples(source)}
    assert list(made) == ["crack_exp1_num_10", "break_exp2_num_30", "fray_exp1_num_1331", "fray_exp2_num_2631"]
    assert all(image.size == mask.size == (224, 224) for image, mask in made.values())
    assert set(np.unique(made["crack_exp1_num_10"][1])) == {0, 255}
    # 40 full rows of 280 become 32 of 224.
    assert np.count_nonzero(made["crack_exp1_num_10"][1]) == 32 * 224
    groups = magnetic_tile.tile_groups(source)
    assert [groups[name] for name in made] == ["tile_10", "tile_10", "tile_1331", "tile_1331"]


def test_faults_are_one_sentence_that_names_the_file(source):
    path = source / "MT_Crack" / "Imgs" / "exp1_num_10.png"
    Image.new("L", (100, 100), 255).save(path)
    with pytest.raises(ValueError, match="exp1_num_10.png is 100x100 but its image is 120x280"):
        list(magnetic_tile.samples(source))
    path.unlink()
    with pytest.raises(FileNotFoundError, match="exp1_num_10.png is missing"):
        list(magnetic_tile.samples(source))
    put(source, "Crack", "tile 7", 100)
    with pytest.raises(ValueError, match="tile 7.jpg is not named like exp1_num_3191.jpg"):
        list(magnetic_tile.samples(source))
    with pytest.raises(FileNotFoundError, match="MT_Blowhole/Imgs is missing; give the folder Magnetic-Tile-Defect"):
        magnetic_tile.tile_groups(source.parent)


@needs_tiles
def test_real_tiles(tmp_path):
    groups = magnetic_tile.tile_groups(TILES)
    format.write(tmp_path / "magnetic-tile", magnetic_tile.samples(TILES), magnetic_tile.TEST, groups=groups)
    with (tmp_path / "magnetic-tile" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["split"] for row in rows) == {"train": 322, "test": 64}
    kinds = Counter(row["id"].split("_")[0] for row in rows)
    assert kinds == {"blowhole": 115, "break": 85, "crack": 57, "fray": 32, "uneven": 97}
    assert len({row["group"] for row in rows}) == 55
    tested, trained = ({row["group"] for row in rows if row["split"] == split} for split in ("test", "train"))
    assert not tested & trained
    assert all(float(row["defect_fraction"]) > 0 for row in rows)


def alikeness(first: Path, second: Path) -> float:
    """The best correlation of the fine texture of two pictures over all shifts that leave half of the smaller one."""
    images = Image.open(first), Image.open(second)
    a, b = (np.asarray(image, np.float32) - np.asarray(image.filter(ImageFilter.BoxBlur(3)), np.float32) for image in images)
    shape = tuple(2 * max(sides) for sides in zip(a.shape, b.shape))

    def correlate(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.fft.irfft2(np.fft.rfft2(x, shape) * np.fft.rfft2(y, shape).conj(), shape)

    shared = correlate(np.ones_like(a), np.ones_like(b)) > min(a.size, b.size) / 2
    energy = correlate(a**2, np.ones_like(b)).clip(1) * correlate(np.ones_like(a), b**2).clip(1)
    return float((correlate(a, b) / np.sqrt(energy))[shared].max())


@needs_tiles
def test_near_numbers_are_one_tile_and_neighbouring_groups_are_not():
    """What the numbers say about tiles, asked of the pixels: over all pairs the one is 0.57 or more, the other 0.23 or less."""
    pictures, groups = magnetic_tile.pictures(TILES), magnetic_tile.tile_groups(TILES)
    pairs = list(zip(pictures, pictures[1:]))
    same = [(a, b) for a, b in pairs if b[0] - a[0] <= 40]
    other = [(a, b) for a, b in pairs if groups[a[1]] != groups[b[1]]]
    assert (len(same), len(other)) == (272, 54)
    assert min(alikeness(a[2], b[2]) for a, b in same[::30]) > 0.5
    assert max(alikeness(a[2], b[2]) for a, b in other[::6]) < 0.3
