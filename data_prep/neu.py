"""NEU-Seg (Sec. IV.A.1): three defect classes of hot-rolled steel strip, 300 images each.

The paper's own masks were never published. These are SD-saliency-900's, drawn by other people on the
same 900 pictures (Song, Song and Yan, Optics and Lasers in Engineering, 2020).
"""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

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
        ValueError: a file is damaged.
    """
    if not (source / "Source Images").is_dir():
        raise FileNotFoundError(f'{source} holds no folder "Source Images"; give the folder {SOURCE} as --source.')
    for number in range(1, IMAGES + 1):
        key = f"{PREFIXES[name]}_{number}"
        image = read(source / "Source Images" / f"{key}.bmp")
        mask = read(source / "Ground truth" / f"{key}.png")
        # Nearest neighbour keeps the mask's two values.
        yield key, image.resize((SIZE, SIZE), Image.Resampling.BILINEAR), mask.resize((SIZE, SIZE), Image.Resampling.NEAREST)


def read(path: Path) -> Image.Image:
    """One grey picture of the source."""
    try:
        with Image.open(path) as image:
            return image.convert("L")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; fetch the data set again.") from None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as a picture ({error}); fetch the data set again.") from None
