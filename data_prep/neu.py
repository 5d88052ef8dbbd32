"""NEU-Seg (Sec. IV.A.1): three defect classes of hot-rolled steel strip, 300 images each.

The paper's own masks were never published. These are SD-saliency-900's, drawn by other people on the
same 900 pictures (Song, Song and Yan, Optics and Lasers in Engineering, 2020).
"""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from data_prep.format import open_picture, require_mask

SOURCE = "SD-saliency-900"
PREFIXES = {"neu-inclusion": "In", "neu-patches": "Pa", "neu-scratches": "Sc"}
IMAGES, TEST, SIZE = 300, 50, 224  # the paper's counts and resolution; the pictures come at 200


def samples(name: str, source: Path) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """Id, image and mask of the 300 pictures of a class, resized to 224x224.

    Args:
        name: a key of PREFIXES.
        source: the folder SD-saliency-900, with "Source Images" and "Ground truth".

    Raises:
        FileNotFoundError: the source or one of its files is missing.
        ValueError: a file is damaged, or a mask has another size or other values than 0 and 255.
    """
    if not (source / "Source Images").is_dir():
        raise FileNotFoundError(f'{source} holds no folder "Source Images"; give the folder {SOURCE} as --source.')
    for number in range(1, IMAGES + 1):
        key = f"{PREFIXES[name]}_{number}"
        image = open_picture(source / "Source Images" / f"{key}.bmp").convert("L")
        mask_path = source / "Ground truth" / f"{key}.png"
        mask = open_picture(mask_path)
        require_mask(mask, image, mask_path)
        # Nearest neighbour keeps the mask's two values.
        yield key, image.resize((SIZE, SIZE), Image.Resampling.BILINEAR), mask.resize((SIZE, SIZE), Image.Resampling.NEAREST)

