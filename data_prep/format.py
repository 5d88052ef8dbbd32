"""Writing a data set in the one on-disk format, whole or not at all."""

import csv
import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

COLUMNS = ("id", "split", "group", "width", "height", "defect_fraction", "image_sha256", "mask_sha256")
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
WHITE = 65535  # what becomes 255 in a grey picture of 16 bits, unless another value is given
DARK = 64  # pictures that use at most 14 of 16 bits stay below it


def write(
    folder: Path, samples: Iterable[tuple[str, Image.Image, Image.Image]], test: int, split_seed: int = 0,
    groups: Mapping[str, str] = MappingProxyType({}), notes: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write images, masks and manifest to a new folder.

    Args:
        samples: id, image and mask (0/255) of each picture.
        test, split_seed, groups: see ``index``.
        notes: further files of the folder, text by name.

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
        index(temporary, test, split_seed, groups)
        for name, text in notes.items():
            (temporary / name).write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def index(folder: Path, test: int, split_seed: int = 0, groups: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write manifest.csv for the images and masks that a folder holds.

    Args:
        test: number of test images that ``split`` draws, seeded by split_seed.
        groups: the group of each id whose picture shows the same surface as another's; others stand alone.

    Raises:
        FileNotFoundError: there are no images, or one lacks its mask.
        ValueError: a file is damaged, a mask has another size or other values than 0 and 255, a picture or mask would be
            passed over, or more test images are asked for than there are images to spare. A manifest that was there
            stays as it was.
    """
    images = sorted((folder / "images").glob("*.png"), key=lambda path: natural(path.stem))
    if not images:
        raise FileNotFoundError(f"{folder / 'images'} holds no PNG; put the pictures there and their masks, of the same names, in masks.")
    if not 0 < test < len(images):
        raise ValueError(f"{folder} has {len(images)} images; the number of test images must be from 1 to {len(images) - 1}, not {test}.")
    names = {path.name for path in images}
    for path in sorted([*(folder / "images").iterdir(), *(folder / "masks").glob("*")]):
        if path.suffix.lower() in SUFFIXES and path.name not in names and not path.name.startswith("."):
            raise ValueError(
                f"{path} would be passed over, as every image and its mask have one name that ends in .png; rename or remove "
                'it, or make a set of the folder with "python -m data_prep own".'
            )
    rows = []
    for path in images:
        image, mask = eight_bits(open_picture(path), path), open_picture(folder / "masks" / path.name)
        require_mask(mask, image, folder / "masks" / path.name)
        rows.append({
            "id": path.stem, "group": groups.get(path.stem, path.stem), "width": image.width, "height": image.height,
            "defect_fraction": f"{(np.asarray(mask) == 255).mean():.6f}",
            "image_sha256": sha256(path), "mask_sha256": sha256(folder / "masks" / path.name),
        })
    temporary = folder / "manifest.csv.tmp"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(split(rows, test, split_seed))
    temporary.replace(folder / "manifest.csv")


def read_manifest(folder: Path) -> list[dict[str, str]]:
    """The rows of manifest.csv, in its order, with the columns of ``COLUMNS``."""
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder} does not exist; make it with "python -m data_prep make NAME --source DIR".')
    path = folder / "manifest.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} is missing; write it with "python -m data_prep index {folder}", or make a data set of pictures and masks '
            f'of your own with "python -m data_prep own {folder} --name NAME".'
        )
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            columns = ", ".join(COLUMNS)
            raise ValueError(f'{path} must have the columns {columns}; write it again with "python -m data_prep index {folder}".')
        return list(reader)


def split(rows: list[dict], test: int, seed: int) -> list[dict]:
    """The manifest's rows with a split drawn by a seed: whole groups, in random order, as long as they fit.

    Pictures without a defect, where there are any, are given to the test images in their share of the set.

    Raises:
        ValueError: the groups are too large for that many test images.
    """
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row["group"], []).append(i)
    members = list(groups.values())
    order = [members[k] for k in np.random.default_rng(seed).permutation(len(members))]
    defective = [group for group in order if any(float(rows[i]["defect_fraction"]) for i in group)]
    sound = [group for group in order if group not in defective]
    sound_test = round(test * sum(map(len, sound)) / len(rows))
    tested = {i for group in fill(defective, test - sound_test) + fill(sound, sound_test) for i in group}
    return [row | {"split": "test" if i in tested else "train"} for i, row in enumerate(rows)]


def fill(groups: list[list[int]], count: int) -> list[list[int]]:
    """The first groups in order, as many as fit, that together have just ``count`` members; ValueError if none do."""
    # reach[k] has the bit n where some of the groups from k on have n members together.
    reach = [1]
    for group in reversed(groups):
        reach.insert(0, reach[0] | reach[0] << len(group))
    if not reach[0] >> count & 1:
        raise ValueError(f"no groups of pictures of the same surface make up {count} test images; ask for another number.")
    chosen = []
    for k, group in enumerate(groups):
        if len(group) <= count and reach[k + 1] >> (count - len(group)) & 1:
            chosen.append(group)
            count -= len(group)
    return chosen


def open_picture(path: Path) -> Image.Image:
    """A decoded picture, turned as its EXIF orientation says.

    Raises:
        FileNotFoundError, ValueError: one sentence that names the file. A picture of more pixels than
            2 * PIL.Image.MAX_IMAGE_PIXELS is refused by what its head claims, before any memory is taken. Pillow's
            warnings are passed over: it says more than one sentence of what it refuses, too.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder or a device")  # a pipe would be waited for without end
        # As an open file: by its name, Pillow 13 maps an uncompressed TIFF into memory and garbles it where it is turned.
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
            if image.format == "TIFF" and image.n_frames > 1:
                raise ValueError(f"it holds {image.n_frames} pictures")
            return ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; every picture needs an image and a mask of the same name.") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path} cannot be read as a picture (not {', '.join(FORMATS)}, or damaged); replace the file.") from None
    except Exception as error:  # Pillow's decoders raise almost anything on a damaged file
        raise ValueError(f"{path} cannot be read as a picture ({' '.join(str(error).split())}); replace the file.") from None


def eight_bits(image: Image.Image, path: Path, white: int = WHITE) -> Image.Image:
    """A decoded picture with 8 bits a channel, "L" or "RGB".

    Grey of 16 bits is scaled linearly, 0 to 0 and white to 255, the same for every picture; of colour with 16 bits
    Pillow reads the upper 8.

    Raises:
        ValueError: pixels of another kind, values above white, or transparent pixels, which have no colour.
    """
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        if values.max() > white:
            raise ValueError(f"{path} holds the value {values.max()}, above white, which is {white}; give a larger white.")
        return Image.fromarray(((values * 255 + white // 2) // white).astype(np.uint8))
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"):
        raise ValueError(f"{path} has {image.mode} pixels; save it with 8 or 16 bits a channel, grey or RGB.")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise ValueError(f"{path} has transparent pixels; fill them and save it without transparency.")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


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
