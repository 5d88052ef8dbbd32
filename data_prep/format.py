"""The one on-disk format of data sets: writing one, whole or not at all, its manifest, and reading a picture with its mask."""

import csv
import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from data_prep.decode import SUFFIXES, eight_bits, open_picture, require_mask
from data_prep.splits import possible_test, require_seed, split
from data_prep.whole import whole

COLUMNS = ("id", "split", "group", "width", "height", "defect_fraction", "image_sha256", "mask_sha256")


def write(
    folder: Path, samples: Iterable[tuple[str, Image.Image, Image.Image]], test: int | None, split_seed: int = 0,
    groups: Mapping[str, str] = MappingProxyType({}), notes: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write images, masks and manifest to a new folder.

    Args:
        samples: id, image and mask (0/255) of each picture.
        test, split_seed, groups: see ``index``.
        notes: further files of the folder, text by name.

    Raises:
        FileExistsError: the folder exists.
        OSError: it cannot be written.
    """
    require_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Made beside its place and renamed at the end, so that a failure leaves nothing half-written.
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for kind in ("images", "masks"):
            (temporary / kind).mkdir()
        for name, image, mask in samples:
            image.save(temporary / "images" / f"{name}.png")
            mask.save(temporary / "masks" / f"{name}.png")
        index(temporary, test, split_seed, groups)
        for name, text in notes.items():
            (temporary / name).write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
        temporary.rename(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:  # a write that failed, as on a full disk
            raise OSError(f"{folder} cannot be written ({error.strerror}); make place for it, or write elsewhere.") from None
        raise


def require_free(folder: Path) -> None:
    """Raise FileExistsError where a folder exists."""
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; delete it to make it again.")


def index(
    folder: Path, test: int | None = None, split_seed: int | None = None, groups: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write manifest.csv for the images and masks that a folder holds.

    Where there is one that can be read, each picture keeps its group and, unless test or split_seed is given, its split.
    A new picture has a group of its own and is then for training; only where a group has its name already, it joins that.

    Args:
        test: number of test images that ``split`` draws, by default ``possible_test``, seeded by split_seed, by default 0.
        groups: the group of each id whose picture shows the same surface as another's; others stand alone.

    Raises:
        FileNotFoundError: there are no images, or one lacks its mask.
        ValueError: a file is damaged, a mask has another size or other values than 0 and 255, a picture or mask would be
            passed over, more test images are asked for than there are images to spare, or the split that is kept has
            none left for training or testing. A manifest that was there stays as it was.
    """
    found = (path for path in (folder / "images").glob("*.png") if not path.name.startswith("."))  # macOS leaves ._p0.png behind
    images = sorted(found, key=lambda path: natural(path.stem))
    if not images:
        raise FileNotFoundError(f"{folder / 'images'} holds no PNG; put the pictures there and their masks, of the same names, in masks.")
    if test is not None and not 0 < test < len(images):
        raise ValueError(f"of {len(images)} images {test} cannot be for testing; give 1 or more, and leave some to train on.")
    names = {path.name for path in images}
    for path in sorted([*(folder / "images").iterdir(), *(folder / "masks").glob("*")]):
        if path.suffix.lower() in SUFFIXES and path.name not in names and not path.name.startswith("."):
            raise ValueError(
                f"{path} would be passed over, as every image and its mask have one name that ends in .png; rename or remove "
                'it, or make a set of the folder with "python -m data_prep own".'
            )
    try:
        before = {row["id"]: row for row in read_manifest(folder) if row["group"]}
    except (FileNotFoundError, ValueError):  # none, or one that is to be written again
        before = {}
    groups = {name: row["group"] for name, row in before.items()} | dict(groups)
    rows = []
    for path in images:
        image, mask = eight_bits(open_picture(path), path), open_picture(folder / "masks" / path.name)
        require_mask(mask, image, folder / "masks" / path.name)
        fraction = (np.asarray(mask) == 255).mean()
        rows.append({
            "id": path.stem, "group": groups.get(path.stem, path.stem), "width": image.width, "height": image.height,
            "defect_fraction": f"{fraction:.6f}" if fraction == 0 or fraction >= 1e-6 else f"{fraction:.1e}",
            "image_sha256": sha256(path), "mask_sha256": sha256(folder / "masks" / path.name),
        })
    if before and test is None and split_seed is None:
        sides = {row["group"]: row["split"] for row in before.values()}
        rows = [
            row | {"split": before[row["id"]]["split"] if row["id"] in before else sides.get(row["group"], "train")} for row in rows
        ]
        if len({"train", "test"} & {row["split"] for row in rows}) < 2:
            raise ValueError(
                f"{folder / 'manifest.csv'} gives a split that leaves no picture for training or none for testing; give test, the "
                "number of test images, to draw another."
            )
    else:
        seed = split_seed or 0
        require_seed(seed)
        rows = split(rows, possible_test(rows, seed, folder / "images") if test is None else test, seed)
    with whole(folder / "manifest.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_manifest(folder: Path) -> list[dict[str, str]]:
    """The rows of manifest.csv, in its order, with the columns of ``COLUMNS``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged or lists nothing, a picture twice, one that is neither for training nor for testing, or one whose size or share of
            defects is no number.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder} does not exist; make it with "python -m data_prep make NAME --source DIR".')
    path = folder / "manifest.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} is missing; write it with "python -m data_prep index {folder}", or make a data set of pictures and masks '
            f'of your own with "python -m data_prep own {folder} --name NAME".'
        )
    again = f'write it again with "python -m data_prep index {folder}".'
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # a spreadsheet puts a byte-order mark in front
            reader = csv.DictReader(file, strict=True)
            columns, rows = tuple(reader.fieldnames or ()), list(reader)
    except (csv.Error, UnicodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); {again}") from None
    if columns != COLUMNS:
        raise ValueError(f"{path} must have the columns {', '.join(COLUMNS)}; {again}")
    if not rows:
        raise ValueError(f"{path} lists no picture; {again}")
    if short := [row for row in rows if None in row or None in row.values()]:
        raise ValueError(f"{path} has a line for {short[0]['id']!r} that has not {len(COLUMNS)} values; {again}")
    if len(names := Counter(row["id"] for row in rows)) < len(rows):
        raise ValueError(f"{path} lists {names.most_common(1)[0][0]!r} more than once; {again}")
    require_split(rows, path)
    for row in rows:
        try:
            float(row["defect_fraction"]), int(row["width"]), int(row["height"])
        except ValueError as error:
            raise ValueError(f"{path} has for {row['id']!r} what is no number ({error}); {again}") from None
    return rows


def require_split(rows: Iterable[Mapping[str, str]], path: Path) -> None:
    """Raise ValueError unless each row of a manifest, which lies at a path, is for training or for testing."""
    for row in rows:
        if row["split"] not in ("train", "test"):
            raise ValueError(f'{path} has the split {row["split"]!r} for {row["id"]}; write "train" or "test" there.')


def read_pair(folder: Path, row: Mapping[str, str]) -> tuple[Image.Image, Image.Image]:
    """The picture of a manifest's row, in 8 bits, and its mask.

    Raises:
        FileNotFoundError, ValueError: a file is missing, damaged, not what ``eight_bits`` or ``require_mask`` takes, or not the
            one that the manifest describes.
    """
    image_path, mask_path = (folder / kind / f"{row['id']}.png" for kind in ("images", "masks"))
    image, mask = eight_bits(open_picture(image_path), image_path), open_picture(mask_path)
    require_mask(mask, image, mask_path)
    for path, expected in ((image_path, row["image_sha256"]), (mask_path, row["mask_sha256"])):
        if sha256(path) != expected:
            raise ValueError(
                f"{path} is not the file that the manifest describes; restore it, or accept the change with "
                f'"python -m data_prep index {folder}".'
            )
    return image, mask


def natural(name: str) -> tuple:
    """A sort key that puts In_2 before In_10."""
    head = name.rstrip("0123456789")
    return head, int(name[len(head):] or 0), name


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
