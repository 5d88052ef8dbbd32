"""Writing a data set in the one on-disk format, whole or not at all."""

import csv
import hashlib
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

COLUMNS = ("id", "split", "group", "width", "height", "defect_fraction", "image_sha256", "mask_sha256")
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
WHITE = 65535  # what becomes 255 in a grey picture of 16 bits, unless another value is given
MOST_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # of a picture that Pillow decodes
DARK = 64  # pictures that use at most 14 of 16 bits stay below it


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
    temporary = folder / "manifest.csv.tmp"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(folder / "manifest.csv")


def read_manifest(folder: Path) -> list[dict[str, str]]:
    """The rows of manifest.csv, in its order, with the columns of ``COLUMNS``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged or lists nothing, a picture twice, or one that is neither for training nor for testing.
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


def require_seed(split_seed: int) -> None:
    """Raise ValueError unless a split can be drawn by a seed."""
    if split_seed < 0:
        raise ValueError(f"the seed of the split is {split_seed}; give a whole number from 0 on.")


def split(rows: list[dict], test: int, seed: int) -> list[dict]:
    """The manifest's rows with a split drawn by a seed: whole groups, in random order, as long as they fit.

    Pictures without a defect, where there are any, are given to the test images in their share of the set, or as near to
    it as leaves a defect on both sides where two groups or more have one.

    Raises:
        ValueError: the groups are too large for that many test images.
    """
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row["group"], []).append(i)
    members = list(groups.values())
    order = [members[k] for k in np.random.default_rng(seed).permutation(len(members))]
    defective, sound = (
        [group for group in order if any(float(rows[i]["defect_fraction"]) for i in group) == wanted] for wanted in (True, False)
    )
    share, every = test - round(test * sum(map(len, sound)) / len(rows)), sum(map(len, defective))
    ours, others = reach(defective)[0], reach(sound)[0]
    both = len(defective) > 1 and 0 < test < len(rows)
    possible = [n for n in range(test + 1) if ours >> n & 1 and others >> (test - n) & 1 and (0 < n < every or not both)]
    if not possible:
        sides = " with a defect on both sides of the split" * both
        raise ValueError(f"no groups of pictures of the same surface make up {test} test images{sides}; ask for another number.")
    share = min(possible, key=lambda n: abs(n - share))
    tested = {i for group in fill(defective, share) + fill(sound, test - share) for i in group}
    return [row | {"split": "test" if i in tested else "train"} for i, row in enumerate(rows)]


def possible_test(rows: list[dict], seed: int, images: Path) -> int:
    """The number of test images next to one in six that ``split`` can draw; ValueError, naming the folder images, if none."""
    for test in sorted(range(1, len(rows)), key=lambda number: abs(number - max(1, len(rows) // 6))):
        try:
            split(rows, test, seed)
        except ValueError:
            continue
        return test
    raise ValueError(f"{images} holds too few pictures to keep one for testing; add some.")


def reach(groups: list[list[int]]) -> list[int]:
    """For each k, a number that has the bit n where some of the groups from k on have n members together."""
    bits = [1]
    for group in reversed(groups):
        bits.insert(0, bits[0] | bits[0] << len(group))
    return bits


def fill(groups: list[list[int]], count: int) -> list[list[int]]:
    """The first groups in order, as many as fit, that together have just ``count`` members, which some do."""
    rest, chosen = reach(groups), []
    for k, group in enumerate(groups):
        if len(group) <= count and rest[k + 1] >> (count - len(group)) & 1:
            chosen.append(group)
            count -= len(group)
    return chosen


def open_picture(path: Path) -> Image.Image:
    """A decoded picture, turned as its EXIF orientation says; one bit a pixel becomes 0 and 255.

    Raises:
        FileNotFoundError, ValueError: one sentence that names the file. A picture of more pixels than
            MOST_PIXELS is refused by what its head claims, before any memory is taken. Pillow's
            warnings are passed over: it says more than one sentence of what it refuses, too.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder or a device")  # a pipe would be waited for without end
        # As an open file: by its name, Pillow 13 maps an uncompressed TIFF into memory and garbles it where it is turned.
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
            if image.format == "TIFF" and image.n_frames > 1:
                raise ValueError(f"it holds {image.n_frames} pictures")
            upright = ImageOps.exif_transpose(image)
            return upright.convert("L") if upright.mode == "1" else upright
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; put it there, or take it out of what names it.") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{path} has more than {MOST_PIXELS:,} pixels; cut it into parts.") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path} cannot be read as a picture (not {', '.join(FORMATS)}, or damaged); replace the file.") from None
    except Exception as error:  # Pillow's decoders raise almost anything on a damaged file
        raise ValueError(f"{path} cannot be read as a picture ({' '.join(str(error).split())}); replace the file.") from None


def eight_bits(image: Image.Image, path: Path, white: int | None = None) -> Image.Image:
    """A decoded picture with 8 bits a channel, "L" or "RGB".

    Grey of 16 bits is scaled linearly, 0 to 0 and white to 255, the same for every picture; of colour with 16 bits
    Pillow reads the upper 8.

    Args:
        white: None for WHITE, but then no picture that it leaves almost black: a camera of fewer bits made that.

    Raises:
        ValueError: such a picture, white outside of 1 to WHITE, pixels of another kind, values above white, or transparent pixels,
            which have no colour.
    """
    scale = WHITE if white is None else white
    if not 0 < scale <= WHITE:
        raise ValueError(f"white is {white}; give the value of white in 16-bit grey pictures, from 1 to {WHITE}.")
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        if values.max() > scale:
            raise ValueError(f"{path} holds the value {values.max()}, above white, which is {scale}; give a larger white.")
        scaled = ((values * 255 + scale // 2) // scale).astype(np.uint8)
        if white is None and scaled.max() < DARK:
            raise ValueError(
                f"{path} has 16 bits and no brighter pixel than {scaled.max()} of 255; give white, 4095 for a camera of 12 bits, or {WHITE} "
                'to take it as it is; a data set is made of such pictures by "python -m data_prep own".'
            )
        return Image.fromarray(scaled)
    if image.mode not in ("L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"):
        raise ValueError(f"{path} has {image.mode} pixels; save it with 8 or 16 bits a channel, grey or RGB.")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise ValueError(f"{path} has transparent pixels; fill them and save it without transparency.")
    return image.convert("L" if image.mode == "L" else "RGB")


def require_mask(mask: Image.Image, image: Image.Image, path: Path) -> None:
    """Raise ValueError unless a mask is one channel of 0 and 255 and as large as its image."""
    if mask.size != image.size:
        raise ValueError(f"{path} is {mask.width}x{mask.height} but its image is {image.width}x{image.height}; make them one size.")
    if len(mask.getbands()) > 1:
        raise ValueError(f"{path} is a colour picture; save the mask as one grey channel of 0 and 255.")
    if others := set(np.unique(np.asarray(mask)).tolist()) - {0, 255}:
        raise ValueError(f"{path} holds the value {min(others)}; a mask is 0 (sound) or 255 (defect) everywhere.")


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
