"""Magnetic tiles (Huang, Qiu and Yuan, The Visual Computer, 2020): the MT set of the paper's published version.

How many pictures the paper takes, at which size and in which split is not known here. We do as it does with NEU: the
pictures with a defect, whatever its kind, at 224x224, one in six for testing. Six of the 392 pictures are left out:
in four the mask is empty, in two it holds one and three stray pixels.

Each tile was taken under six exposures, and some were cut and labelled twice. The numbers run on: exp1_num_3191 and
exp2_num_3211 show one tile, as their fine texture tells. Pictures of near numbers are a group and never straddle the split.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.decode import open_picture, require_mask

NAME = "magnetic-tile"
SOURCE = "Magnetic-Tile-Defect"
KINDS = ("Blowhole", "Break", "Crack", "Fray", "Uneven")
TEST, SIZE = 64, 224
LEAST = 10  # marked pixels of a mask; the smallest real defect has 26
NEAR = 1300  # the longest leap within what may be one tile is 1257; a few neighbouring tiles share a group


def samples(source: Path) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """Id, image and mask of the pictures with a defect, resized to 224x224 whatever their shape; masks cut at half.

    Args:
        source: the folder Magnetic-Tile-Defect, with MT_Blowhole to MT_Uneven.

    Raises:
        FileNotFoundError: the source or one of its files is missing.
        ValueError: a file is damaged or strangely named, or a mask has another size than its image.
    """
    for _, key, path in pictures(source):
        image = open_picture(path).convert("L")
        mask_path = path.with_suffix(".png")
        mask = open_picture(mask_path).convert("L").point(lambda level: 255 * (level > 127))
        require_mask(mask, image, mask_path)
        if np.count_nonzero(mask) >= LEAST:
            # Nearest neighbour keeps the mask's two values.
            yield key, image.resize((SIZE, SIZE), Image.Resampling.BILINEAR), mask.resize((SIZE, SIZE), Image.Resampling.NEAREST)


def tile_groups(source: Path) -> dict[str, str]:
    """The group of each picture, named after its lowest number: a new one where the numbers leap by more than NEAR."""
    groups, previous = {}, -NEAR - 1
    for number, key, _ in pictures(source):
        if number - previous > NEAR:
            first = number
        groups[key], previous = f"tile_{first}", number
    return groups


def pictures(source: Path) -> list[tuple[int, str, Path]]:
    """Number, id such as crack_exp1_num_3191 and path of each picture of a kind of defect, by number."""
    found = []
    for kind in KINDS:
        folder = source / f"MT_{kind}" / "Imgs"
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is missing; give the folder {SOURCE} as --source.")
        for path in folder.glob("*.jpg"):
            name = re.fullmatch(r"exp\d_num_(\d+)", path.stem)
            if not name:
                raise ValueError(f"{path} is not named like exp1_num_3191.jpg, which tells the tile; take it away.")
            found.append((int(name[1]), f"{kind.lower()}_{path.stem}", path))
    return sorted(found)
