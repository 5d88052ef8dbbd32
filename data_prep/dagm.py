"""DAGM-Seg (Sec. IV.A.1): classes 7 to 10 of the DAGM 2007 competition, 512x512, and a drawn set of the same size.

Textures made by a program, with one defect in each picture; the label is an ellipse around it. The paper takes the 300
pictures of a class that have a defect, 250 for training and 50 for testing, and does not say which.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.decode import open_picture, require_mask
from data_prep.synthetic import smooth, steel

SOURCE = "DAGM2007"
CLASSES = {f"dagm-class{number}": f"Class{number}" for number in (7, 8, 9, 10)}
SYNTHETIC = "synthetic-dagm"
IMAGES, TEST, SIZE = 300, 50, 512  # the paper's counts and resolution


def samples(name: str, source: Path) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """Id, image and mask of the 300 defective pictures of a class.

    Args:
        name: a key of CLASSES.
        source: the folder that holds Class7 to Class10, in the official layout or in Kaggle's.

    Raises:
        FileNotFoundError: the source or one of its files is missing.
        ValueError: a file is damaged or has another size, a mask has other values than 0 and 255, or Label/Labels.txt
            does not go with the labels.
    """
    folder = class_folder(source, CLASSES[name])
    numbers = [(part, number) for part in ("Train", "Test") for number in labelled(folder / part / "Label")]
    if len(numbers) != IMAGES:
        raise ValueError(f"{folder} holds {len(numbers)} labelled pictures instead of {IMAGES}; unpack the archive again.")
    for part, number in numbers:
        image_path, mask_path = folder / part / f"{number}.PNG", folder / part / "Label" / f"{number}_label.PNG"
        image, mask = open_picture(image_path).convert("L"), open_picture(mask_path)
        if image.size != (SIZE, SIZE):
            raise ValueError(f"{image_path} is {image.width}x{image.height} instead of {SIZE}x{SIZE}; unpack the archive again.")
        require_mask(mask, image, mask_path)
        yield f"{part.lower()}_{number}", image, mask


def class_folder(source: Path, name: str) -> Path:
    """The folder of a class that holds Train and Test: in the source, or one folder down, as Kaggle and zip files have it."""
    places = source / name, source / "DAGM_KaggleUpload" / name, source / name / name
    for folder in places:
        if all((folder / part / "Label").is_dir() for part in ("Train", "Test")):
            return folder
    raise FileNotFoundError(
        f"{source} holds no folder {name} with Train/Label and Test/Label; give the folder of all classes as --source."
    )


def labelled(folder: Path) -> list[str]:
    """The numbers of the pictures that have a label, as written in their names, after a comparison with Labels.txt."""
    listing = folder / "Labels.txt"
    if not listing.is_file():
        raise FileNotFoundError(f"{listing} is missing; unpack the archive again.")
    listed = set(re.findall(r"(\d+)_label\.PNG", listing.read_text(encoding="utf-8", errors="replace")))
    present = {path.name.removesuffix("_label.PNG") for path in folder.glob("*_label.PNG")}
    if lost := sorted(listed - present):
        raise FileNotFoundError(f"{folder / lost[0]}_label.PNG is missing, but {listing} lists it; unpack the archive again.")
    if foreign := sorted(present - listed):
        raise ValueError(f"{folder / foreign[0]}_label.PNG is not listed in {listing}; unpack the archive again.")
    return sorted(present)


def synthetic() -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """Id, image and mask of 300 drawn pictures: as large and as many as one DAGM class, and not to be compared with it.

    In whole numbers, so that every machine draws the same pixels: ``synthetic.steel`` with a ragged dark or bright blot,
    labelled, as DAGM does it, by the ellipse that the blot lies in.
    """
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for i in range(IMAGES):
        rng = np.random.default_rng(i)
        row, column = rng.integers(100, SIZE - 100, 2)
        length, width = int(rng.integers(30, 90)), int(rng.integers(12, 30))
        a, b = rng.integers(-100, 101), rng.integers(1, 101)  # the direction of the long axis
        along, across = (rows - row) * a + (columns - column) * b, (columns - column) * a - (rows - row) * b
        # Inside the ellipse this is below 100, in hundredths so that a ragged field can eat into the edge.
        distance = (100 * along**2 // length**2 + 100 * across**2 // width**2) // (a * a + b * b)
        ragged = smooth(rng.integers(0, 1000, (SIZE, SIZE)), 4)
        contrast = int(rng.choice((-1, 1))) * int(rng.integers(18, 40))
        image = steel(rng, SIZE) + np.where(distance + np.abs(ragged - 500) < 90, contrast, 0)
        mask = np.where(distance < 100, 255, 0).astype(np.uint8)
        yield f"blot_{i + 1}", Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)), Image.fromarray(mask)
