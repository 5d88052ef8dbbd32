"""Your own pictures: a folder of images and masks of any size and common format becomes a data set.

Images and masks pair by name, in subfolders by that of the subfolder, too; case, ending and Unicode form of the names do not matter, and all masks may have
one of ADDITIONS, as bolt_mask.png.
"""

import filecmp
import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep import decode, format, overlap, splits

TILE = 512
LEAST = 32  # pixels, the side of a tile
FEW = 8  # values of masks that are all listed: more are grey edges
NOTE = "prepared.json"
ADDITIONS = re.compile("[ _.-]?(mask|label|gt|seg)")  # to the names of masks


def prepare(
    source: Path, out: Path, *, tile: int = TILE, overlap: int = 0, test: int | None = None, split_seed: int = 0,
    white: int | None = None, defect_values: Collection[int] | int = (), threshold: int | None = None, unmasked_sound: bool = False, join_overlaps: bool = False,
) -> Path:
    """Make a data set from source/images and source/masks.

    The settings are written to prepared.json in the new folder, among them "size", height and width of its pictures,
    and "white" as it was given, which ``dataset.read_image`` needs for further pictures.

    Args:
        out: the new folder.
        tile: larger pictures are cut into tiles of this side, evenly from border to border, which the split keeps
            together; a picture smaller than the others is padded by reflection.
        overlap: least number of pixels that neighbouring tiles share.
        test: number of test images, tiles counted; by default one in six, or what whole pictures can make up.
        white: the grey value of 16-bit pictures that becomes 255, one for all: 4095 for a camera of 12 bits. By
            default 65535, unless one would be nearly black.
        defect_values: the values of a mask that mean a defect; by default the only one besides 0. 0 may be one of them where
            every picture has a mask.
        threshold: instead, values above it mean a defect; for masks with grey edges.
        unmasked_sound: take pictures without a mask for free of defects.
        join_overlaps: keep pictures that show the same surface in part (see ``overlap``) on one side of the split; finding them takes
            minutes, and all pictures at once in memory.

    Returns:
        the new folder.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: one sentence that names the file; no folder is made.
    """
    source, out = Path(source), Path(out)
    if isinstance(defect_values, int):
        defect_values = (defect_values,)
    if tile < LEAST or not 0 <= overlap < tile:
        raise ValueError(f"tiles of {tile} that share {overlap} pixels are impossible; give a tile of {LEAST} or more and a smaller overlap.")
    if defect_values and threshold is not None:
        raise ValueError("defect_values (--defect-values) and threshold both say what a defect is; give one of them.")
    if 0 in defect_values and unmasked_sound:
        raise ValueError(
            "with 0 in defect_values (--defect-values) a picture without a mask would be all defect; give every picture a mask, and not "
            "unmasked_sound (--unmasked-sound)."
        )
    splits.require_seed(split_seed)
    format.require_free(out)
    pairs = find_pairs(source, unmasked_sound)
    sizes, values = {}, {}
    for key, _, mask in read(pairs, white):  # all of them, before anything is written
        sizes[key], values[key] = mask.shape, np.unique(mask).tolist()
    defects = choose_defects({pairs[key][1]: found for key, found in values.items()}, defect_values, threshold)
    if not defects:
        raise ValueError(f"{source / 'masks'} marks no defect at all; see what values the masks hold.")
    size = common_size({pairs[key][0]: sides for key, sides in sizes.items()}, tile)
    tiles = {key: corners(key, sides, size, overlap) for key, sides in sizes.items()}
    of_tile = {name: key for key, names in tiles.items() for name in names}
    if len({name.casefold() for name in of_tile}) < sum(map(len, tiles.values())):
        raise ValueError(f"{source / 'images'} holds pictures that are named like tiles of others; rename them.")
    surface = surfaces(pairs, white) if join_overlaps else {key: key for key in pairs}
    groups = {name: surface[key] for name, key in of_tile.items()}

    def samples() -> Iterator[tuple[str, Image.Image, Image.Image]]:
        for key, image, mask in read(pairs, white):
            image, mask = (grown(array, size) for array in (image, 255 * np.isin(mask, defects).astype(np.uint8)))
            for name, (row, column) in tiles[key].items():
                window = np.s_[row : row + size[0], column : column + size[1]]
                yield name, Image.fromarray(image[window]), Image.fromarray(mask[window])

    drawn = test
    if test is None:
        keys = [of_tile[name] for name in sorted(of_tile, key=format.natural)]
        rows = [{"group": surface[key], "defect_fraction": bool(set(values[key]) & set(defects))} for key in keys]
        drawn = splits.possible_test(rows, split_seed, source / "images")
    chosen = {
        "source": source.name, "size": size, "tile": tile, "overlap": overlap, "white": white,
        "defect_values": None if threshold is not None else sorted(set(defect_values)) or defects, "threshold": threshold, "unmasked_sound": unmasked_sound,
        "join_overlaps": join_overlaps, "test": test, "split_seed": split_seed, "files": digest(pairs),
    }
    format.write(out, samples(), drawn, split_seed, groups, {NOTE: json.dumps(chosen, indent=1) + "\n"})
    return out


def settings(folder: Path) -> dict:
    """What was noted of a data set when it was made, by ``prepare`` or, its "white" alone, of polygons; {} where nothing was. ValueError where the file is damaged."""
    path = folder / NOTE
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        raise ValueError(f"{path} is damaged; make the data set again, or delete that file if its pictures are of 8 bits.") from None


def surfaces(pairs: dict[str, tuple[Path, Path | None]], white: int | None) -> dict[str, str]:
    """For each picture the first of those that show the same surface in part, by a chain of such pictures; itself where none does."""
    grey = {i: np.asarray(Image.fromarray(image).convert("L")) for i, (_, image, _) in enumerate(read(pairs, white))}
    keys, found = list(pairs), overlap.search(grey)
    return {key: keys[first] for key, first in zip(keys, overlap.groups(len(keys), [(pair.a, pair.b) for pair in found]))}


def digest(pairs: dict[str, tuple[Path, Path | None]]) -> str:
    """SHA-256 over the ids and the files of ``find_pairs``, by which a set that was made of others is told."""
    found = hashlib.sha256()
    for key, files in sorted(pairs.items()):
        found.update(json.dumps([key, *(format.sha256(file) if file else None for file in files)]).encode())
    return found.hexdigest()


def find_pairs(source: Path, unmasked_sound: bool) -> dict[str, tuple[Path, Path | None]]:
    """Image and mask of each id, the name of the image without its ending; None where a picture needs no mask."""
    images = by_name(source / "images")
    masks = without_addition(by_name(source / "masks"), images)
    if not images:
        raise FileNotFoundError(f"{source / 'images'} holds no picture; put some there, and their masks into {source / 'masks'}.")
    if alone := sorted(masks.keys() - images.keys()):
        raise ValueError(f"{masks[alone[0]]} has no image of the same name in {source / 'images'}; rename or remove it, or put it into the subfolder that its image is in.")
    if (alone := sorted(images.keys() - masks.keys())) and not unmasked_sound:
        raise ValueError(
            f"{images[alone[0]]} has no mask in {source / 'masks'}; draw it, or give unmasked_sound (--unmasked-sound) if pictures "
            "without a mask are free of defects."
        )
    return {called(path, source / "images"): (path, masks.get(name)) for name, path in images.items()}


def called(path: Path, folder: Path) -> str:
    """The name of a picture in a folder without its ending, behind those of the subfolders that it lies in: "scratch-7" of scratch/7.png."""
    return unicodedata.normalize("NFC", "-".join(path.relative_to(folder).with_suffix("").parts))


def by_name(folder: Path) -> dict[str, Path]:
    """The pictures of a folder and its subfolders by what they are ``called``, case folded."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; put the pictures into images and their masks, named alike, into masks.")
    named = {}
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or path.name in ("Thumbs.db", "desktop.ini"):
            continue  # what file managers leave behind
        if path.is_dir() and not path.is_symlink():
            continue  # rglob goes into it, but into no link
        if not path.is_file() or path.suffix.lower() not in decode.SUFFIXES or not str(path.relative_to(folder)).isprintable():
            raise ValueError(f"{str(path)!r} is not a file that ends in {', '.join(decode.SUFFIXES)}; convert, rename or remove it.")
        name = called(path, folder).casefold()
        if name in named:
            raise ValueError(f"{named[name]} and {path.relative_to(folder)} have one name but for case, ending and subfolders; rename one, with its mask.")
        named[name] = path
    return named


def without_addition(masks: dict[str, Path], images: Collection[str]) -> dict[str, Path]:
    """The masks by the names of their images, where all of them are called so with one and the same of ADDITIONS; else as they are."""
    if masks.keys() <= set(images):
        return masks
    first = next(iter(masks), "")
    for addition in filter(ADDITIONS.fullmatch, map(first.removeprefix, images)):
        if all(name.endswith(addition) for name in masks):
            return {name.removesuffix(addition): path for name, path in masks.items()}
    return masks


def read(pairs: dict[str, tuple[Path, Path | None]], white: int | None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Id, image, uint8 (H, W) or (H, W, 3), and the values of its mask, (H, W), one picture at a time."""
    for key, (image_path, mask_path) in pairs.items():
        image = np.asarray(decode.eight_bits(decode.open_picture(image_path), image_path, white))
        mask = np.zeros(image.shape[:2], np.uint8) if mask_path is None else mask_values(mask_path)
        if mask.shape != image.shape[:2]:
            (height, width), (rows, columns) = image.shape[:2], mask.shape
            raise ValueError(f"{mask_path} is {columns}x{rows} but its image is {width}x{height}; make them one size.")
        if mask.any() and filecmp.cmp(image_path, mask_path, shallow=False):
            raise ValueError(f"{image_path} and {mask_path} are one picture; take masks out of the images.")
        yield key, image, mask


def mask_values(path: Path) -> np.ndarray:
    """A mask's values (H, W) as drawn: grey levels, or the indices of a palette of colours that begins with black."""
    mask = decode.open_picture(path)
    if mask.mode.startswith("I"):
        return np.asarray(mask)
    if mask.mode == "P":
        palette = np.reshape(mask.getpalette(), (-1, 3))
        if (palette != palette[:, :1]).any() and not palette[0].any():
            return np.asarray(mask)
    if mask.info["deep"]:
        raise ValueError(f"{path} is a colour picture of 16 bits; save the mask as one grey channel.")
    channels = np.asarray(decode.eight_bits(mask, path).convert("RGB"))
    if (channels != channels[..., :1]).any():
        raise ValueError(f"{path} is a colour picture; save the mask as one grey channel.")
    return channels[..., 0]


def choose_defects(values: dict[Path, list[int]], given: Collection[int], threshold: int | None) -> list[int]:
    """Those of all masks' values that mean a defect; 0 only where it is given."""
    if given:
        return sorted({value for present in values.values() for value in present} & set(given))
    for path, present in values.items() if threshold is not None else ():
        if any(present) and max(present) <= threshold:
            raise ValueError(f"{path} holds no value above the threshold {threshold}, but {max(present)}; bring all masks to one scale, or give a threshold below that.")
    found: dict[int, Path] = {}
    for path, present in values.items():
        found |= {value: path for value in present if value and value not in found}
        if len(found) > 1 and threshold is None:
            value, first = next(iter(found.items()))
            every = sorted(set().union(*values.values()))
            raise ValueError(
                f"{path} holds the values {', '.join(map(str, present[:FEW]))}{', ...' * (len(present) > FEW)}, but a mask may hold 0 and "
                f"one other{f', as {first.name} holds {value},' * (first != path)} the same in all; "
                + (f"of all values, {', '.join(map(str, every))}, give those that mean a defect as defect_values (--defect-values)." if len(every) <= FEW
                   else f"give defect_values (--defect-values), or for grey edges between 0 and {every[-1]} threshold {every[-1] // 2}.")
            )
    return sorted(value for value in found if threshold is None or value > threshold)


def common_size(sizes: dict[Path, tuple[int, int]], tile: int) -> tuple[int, int]:
    """Height and width that every picture is cut or padded to: the largest, but no more than a tile."""
    size = tuple(min(tile, max(sides)) for sides in zip(*sizes.values()))
    path, (height, width) = min(sizes.items(), key=lambda item: min(side / whole for side, whole in zip(item[1], size)))
    if 2 * height < size[0] or 2 * width < size[1]:
        possible = 2 * min(map(min, sizes.values()))
        raise ValueError(
            f"{path} is {width}x{height}, less than half of the {size[1]}x{size[0]} that all pictures are brought to; "
            f"{f'give a tile of at most {possible}, or ' * (possible >= LEAST)}take out what is so small."
        )
    return size


def corners(key: str, sides: tuple[int, int], size: tuple[int, int], overlap: int) -> dict[str, tuple[int, int]]:
    """Id and top left corner (row, column) of each tile of a picture; the whole picture keeps its id."""
    rows, columns = (starts(side, whole, overlap) for side, whole in zip(sides, size))
    if len(rows) == len(columns) == 1:
        return {key: (0, 0)}
    return {f"{key}-{row}-{column}": (row, column) for row in rows for column in columns}


def starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where the fewest tiles begin that cover a side and share ``overlap`` pixels or more, evenly spread."""
    if side <= tile:
        return [0]
    steps = -(-(side - tile) // (tile - overlap))
    return [i * (side - tile) // steps for i in range(steps + 1)]


def grown(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture padded at the bottom and on the right, by reflection, to a least height and width."""
    pad = [(0, max(0, whole - side)) for whole, side in zip(size, array.shape)]
    return np.pad(array, pad + [(0, 0)] * (array.ndim - 2), mode="reflect")
