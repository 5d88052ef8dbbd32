"""Writing a data set in the one on-disk format, whole or not at all."""

import csv
import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

COLUMNS = ("id", "split", "width", "height", "defect_fraction", "image_sha256", "mask_sha256")


def write(folder: Path, samples: Iterable[tuple[str, Image.Image, Image.Image]], test: int, split_seed: int = 0) -> None:
    """Write images, masks and manifest to a new folder.

    Args:
        samples: id, image and mask (0/255) of each picture.
        test: how many of them a permutation seeded by split_seed makes test images.

    Raises:
        FileExistsError: the folder exists.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; delete it to make it again.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Made beside its place and renamed at the end, so that a failure leaves nothing half-written.
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for kind in ("images", "masks"):
            (temporary / kind).mkdir()
        for name, image, mask in samples:
            image.save(temporary / "images" / f"{name}.png")
            mask.save(temporary / "masks" / f"{name}.png")
        index(temporary, test, split_seed)
        temporary.chmod(0o755)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def index(folder: Path, test: int, split_seed: int = 0) -> None:
    """Write manifest.csv for the images and masks that a folder holds.

    Raises:
        FileNotFoundError: there are no images, or one lacks its mask.
        ValueError: a file is damaged, a mask has another size or other values than 0 and 255, or more test images
            are asked for than there are images to spare. A manifest that was there stays as it was.
    """
    images = sorted((folder / "images").glob("*.png"), key=lambda path: natural(path.stem))
    if not images:
        raise FileNotFoundError(f"{folder / 'images'} holds no PNG; put the pictures there and their masks, of the same names, in masks.")
    if not 0 < test < len(images):
        raise ValueError(f"{folder} has {len(images)} images; the number of test images must be from 1 to {len(images) - 1}, not {test}.")
    tested = set(np.random.default_rng(split_seed).permutation(len(images))[:test].tolist())
    rows = []
    for i, path in enumerate(images):
        image, mask = open_picture(path), open_picture(folder / "masks" / path.name)
        require_mask(mask, image, folder / "masks" / path.name)
        defect = float((np.asarray(mask) == 255).mean())
        rows.append((
            path.stem, "test" if i in tested else "train", *image.size, f"{defect:.6f}",
            sha256(path), sha256(folder / "masks" / path.name),
        ))
    temporary = folder / "manifest.csv.tmp"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    temporary.replace(folder / "manifest.csv")


def open_picture(path: Path) -> Image.Image:
    """A decoded picture; FileNotFoundError or ValueError in one sentence that names the file."""
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; every picture needs an image and a mask of the same name.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a picture ({error}); replace the file.") from None


def require_mask(mask: Image.Image, image: Image.Image, path: Path) -> None:
    """Raise ValueError unless a mask is one channel of 0 and 255 and as large as its image."""
    if mask.size != image.size:
        raise ValueError(f"{path} is {mask.width}x{mask.height} but its image is {image.width}x{image.height}; make them one size.")
    if len(mask.getbands()) > 1:
        raise ValueError(f"{path} is a colour picture; save the mask as one grey channel of 0 and 255.")
    if others := set(np.unique(np.asarray(mask)).tolist()) - {0, 255}:
        raise ValueError(f"{path} holds the value {min(others)}; a mask is 0 (sound) or 255 (defect) everywhere.")


def natural(name: str) -> tuple:
    """A sort key that puts In_2 before In_10."""
    head = name.rstrip("0123456789")
    return head, int(name[len(head):] or 0), name


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
