"""The embedded data set: steel-like texture with inclusions, patches and scratches, drawn by seed.

Integers only, from NumPy's seeded PCG64, so that every machine draws the same pixels. It is a toy: what
a network reaches on it says nothing about steel.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

IMAGES, TEST, SIZE = 60, 12, 128
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def samples() -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """Id, image and mask of each picture; the kinds of defect take turns."""
    kinds = (inclusion, patches, scratches)
    for i in range(IMAGES):
        rng = np.random.default_rng(i)
        kind = kinds[i % len(kinds)]
        contrast = kind(rng)  # grey levels that the defect adds or takes away; 0 where there is none
        image = np.clip(steel(rng) + contrast, 0, 255).astype(np.uint8)
        mask = np.where(contrast != 0, 255, 0).astype(np.uint8)
        yield f"{kind.__name__}_{i + 1}", Image.fromarray(image), Image.fromarray(mask)


def steel(rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """Rolling texture: grain, streaks along the rolling direction and uneven light, int (size, size)."""
    level = int(rng.integers(110, 170))
    grain = smooth(rng.integers(-60, 61, (size, size)), 1)
    streaks = smooth(rng.integers(-40, 41, (1, size)), 2)
    light = smooth(rng.integers(-400, 401, (size, size)), 24)
    return level + grain + streaks + light


def inclusion(rng: np.random.Generator) -> np.ndarray:
    """One to three dark, drawn-out specks with ragged edges."""
    ragged = smooth(rng.integers(-100, 101, (SIZE, SIZE)), 1)
    defect = np.zeros((SIZE, SIZE), bool)
    for _ in range(rng.integers(1, 4)):
        row, column = rng.integers(20, SIZE - 20, 2)
        length, width = int(rng.integers(10, 30)), int(rng.integers(2, 7))
        # An ellipse, its inside measured in hundredths so that the ragged field can move its edge.
        distance = 100 * (ROWS - row) ** 2 // length**2 + 100 * (COLUMNS - column) ** 2 // width**2
        defect |= distance + ragged < 100
    return np.where(defect, -int(rng.integers(35, 70)), 0)


def patches(rng: np.random.Generator) -> np.ndarray:
    """Large dark areas with a winding outline."""
    field = smooth(smooth(rng.integers(-1000, 1001, (SIZE, SIZE)), 8), 4)
    order = np.sort(field, axis=None)
    covered = int(rng.integers(8, 25))  # percent of the picture
    return np.where(field < order[field.size * covered // 100], -int(rng.integers(30, 55)), 0)


def scratches(rng: np.random.Generator) -> np.ndarray:
    """One to three thin bright lines, nearly along the rolling direction."""
    defect = np.zeros((SIZE, SIZE), bool)
    for _ in range(rng.integers(1, 4)):
        top, length = int(rng.integers(0, 30)), int(rng.integers(60, 96))
        column, slope, width = int(rng.integers(12, SIZE - 12)), int(rng.integers(-20, 21)), int(rng.integers(1, 3))
        middle = column + slope * (ROWS - top) // 100
        defect |= (np.abs(COLUMNS - middle) <= width) & (ROWS >= top) & (ROWS < top + length)
    return np.where(defect, int(rng.integers(40, 75)), 0)


def smooth(field: np.ndarray, radius: int) -> np.ndarray:
    """Box filter of (2 radius + 1) along each axis longer than 1, wrapping around, in whole numbers."""
    side = 2 * radius + 1
    for _ in range(2):  # rows, then columns
        if len(field) > 1:
            sums = np.pad(field, ((radius + 1, radius), (0, 0)), mode="wrap").cumsum(0)
            field = (sums[side:] - sums[:-side]) // side
        field = field.T
    return field
