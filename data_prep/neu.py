"""NEU-Seg (Sec. IV.A.1): three defect classes of hot-rolled steel strip, 300 images each.

The paper's own masks were never published. These are SD-saliency-900's, drawn by other people on the
same 900 pictures (Song, Song and Yan, Optics and Lasers in Engineering, 2020).

The pictures overlap, so a class is split by groups of overlapping pictures. The paper does not say how it split; the set whose
name ends in -random is split at random, as is usual.
"""

import csv
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.command_line import exit_code
from data_prep.decode import open_picture, require_mask
from data_prep.overlap import Overlap, groups, overlaps, read_overlaps
from data_prep.whole import whole

SOURCE = "SD-saliency-900"
PREFIXES = {"neu-inclusion": "In", "neu-patches": "Pa", "neu-scratches": "Sc"}
RANDOM = "-random"
PROPOSED = "-proposed"  # of one that is trained on masks that no person drew, see ``neu_det``
BY_CHANCE = tuple(name + RANDOM for name in PREFIXES)
NAMES = (*PREFIXES, *BY_CHANCE)
IMAGES, TEST, SIZE = 300, 50, 224  # the paper's counts and resolution
ORIGINAL = 200  # side of the published pictures
OVERLAPS = Path(__file__).with_name("neu_overlaps.csv")  # written by "python -m data_prep.neu SD-saliency-900"


def samples(name: str, source: Path) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """Id, image and mask of the 300 pictures of a class, resized to 224x224.

    Args:
        name: one of NAMES.
        source: the folder SD-saliency-900, with "Source Images" and "Ground truth".

    Raises:
        FileNotFoundError: the source or one of its files is missing.
        ValueError: a file is damaged, a picture is not the published one of 200x200, or a mask has another size or other values than 0 and 255.
    """
    if not (source / "Source Images").is_dir():
        raise FileNotFoundError(f'{source} holds no folder "Source Images"; give the folder {SOURCE} as --source.')
    for key in ids(name):
        path = source / "Source Images" / f"{key}.bmp"
        image = open_picture(path).convert("L")
        if image.size != (ORIGINAL, ORIGINAL):
            raise ValueError(f"{path} is {image.width}x{image.height} instead of {ORIGINAL}x{ORIGINAL}; unpack the archive again.")
        mask_path = source / "Ground truth" / f"{key}.png"
        mask = open_picture(mask_path)
        require_mask(mask, image, mask_path)
        # Nearest neighbour keeps the mask's two values.
        yield key, image.resize((SIZE, SIZE), Image.Resampling.BILINEAR), mask.resize((SIZE, SIZE), Image.Resampling.NEAREST)


def surface_groups(name: str) -> dict[str, str]:
    """The group of each picture of a class: the first picture that it is joined to by overlaps; for -random none."""
    if name.endswith(RANDOM):
        return {}
    keys = ids(name)
    joined = groups(IMAGES, [(pair.a, pair.b) for pair in read_overlaps(OVERLAPS, keys)])
    return {key: keys[first] for key, first in zip(keys, joined)}


def ids(name: str) -> list[str]:
    """Of the pictures of a class, by number: the names of their files."""
    return [f"{prefix(name)}_{number}" for number in range(1, IMAGES + 1)]


def prefix(name: str) -> str:
    """What the file names of a class begin with."""
    return PREFIXES[name.removesuffix(RANDOM)]


def find_overlaps(name: str, source: Path) -> list[dict]:
    """The rows of OVERLAPS for a class: the fields of ``overlap.Overlap``, with ids for a and b."""
    keys = ids(name)
    pictures = np.stack([np.asarray(open_picture(source / "Source Images" / f"{key}.bmp").convert("L")) for key in keys])
    return [
        asdict(pair) | {"a": keys[pair.a], "b": keys[pair.b], "share": f"{pair.share:.3f}", "correlation": f"{pair.correlation:.4f}"}
        for pair in overlaps(pictures)
    ]


@exit_code
def main() -> None:
    """The command line."""
    if len(sys.argv) != 2:
        raise ValueError(f'Give the folder of the pictures: "python -m data_prep.neu {SOURCE}".')
    found = [row for steel in PREFIXES for row in find_overlaps(steel, Path(sys.argv[1]))]
    with whole(OVERLAPS) as temporary, temporary.open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, [field.name for field in fields(Overlap)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    sys.exit(main())
