"""Pictures as files and folders: which are meant, and the mask and the overlay that are written of each."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from anet_core.dataset import read_image
from anet_core.defects import overlay, regions, without_specks
from anet_core.inference import Segmenter
from data_prep.decode import SUFFIXES
from data_prep.format import natural
from data_prep.whole import whole

WRITER = "Software", "anet"  # the text in the head of each PNG that is written


def mark(path: Path, out: Path, segmenter: Segmenter, white: int | None, min_pixels: int, taken: set[Path]) -> dict:
    """Write mask and overlay of one picture; what is printed of it.

    Args:
        out: the folder that they go to.
        white: of a grey picture of 16 bits, as ``dataset.read_image`` takes it; None for the segmenter's.
        min_pixels: connected regions of fewer are taken for sound.
        taken: files that may not be written, the pictures and what was written before; those of this picture are added.

    Raises:
        ValueError, OSError: the picture cannot be read, or its files not be written, or one is there that ``save`` did not write.
    """
    files = {kind: out / f"{path.stem}-{kind}.png" for kind in ("mask", "overlay")}
    if clash := taken & {Path(os.path.realpath(file)) for file in files.values()}:
        raise ValueError(f"{path} would be written to {min(clash)}, which holds another picture; rename it or give another --out.")
    earlier = [file for file in files.values() if file.is_file()]
    if foreign := [file for file in earlier if not is_written(file)]:
        raise ValueError(f"{path} would be written to {foreign[0]}, which anet predict did not write; move that file or give another --out.")
    for file in earlier:  # not to be taken for this picture's where it cannot be read
        file.unlink()
    image = read_image(path, white or segmenter.white)
    taken |= {Path(os.path.realpath(file)) for file in files.values()}
    mask, milliseconds = segmenter.timed(image)
    mask = without_specks(mask, min_pixels)
    if not out.is_dir():
        require_folder(out)
    save(overlay(image, mask), files["overlay"])
    save(255 * mask.astype(np.uint8), files["mask"])  # last: where a mask lies, all of the picture is done
    return {
        "file": str(path), **{kind: str(file) for kind, file in files.items()}, "width": image.shape[1], "height": image.shape[0],
        "defect_pixels": int(mask.sum()), "defect_fraction": float(mask.mean()), "regions": regions(mask),
        "inference_ms": round(milliseconds, 3),
    }


def listing(folder: Path) -> list[Path]:
    """What a folder holds, but for names that begin with a dot."""
    return [path for path in folder.iterdir() if path.name[0] != "."]


def walk(folder: Path, fail: Callable[[OSError], None]) -> list[Path]:
    """The files in a folder and its subfolders, but for names that begin with a dot, and links to folders, which are not followed.

    Args:
        fail: told of each folder that cannot be read.
    """
    found = []
    for place, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if name[0] != "."]
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        found += [Path(place, name) for name in (*links, *files) if name[0] != "."]
    return found


def pictures_in(source: Path, listed: list[Path] | None = None) -> list[Path]:
    """A file itself, or the pictures of a folder but for those that ``save`` wrote, by folder and name.

    Args:
        listed: what of the folder is looked at; by default all that it holds itself.
    """
    if not source.is_dir():
        if not source.exists():
            raise FileNotFoundError(f"{source} does not exist; give a picture or a folder of pictures.")
        return [source]
    listed = listing(source) if listed is None else listed
    files = (path for path in listed if path.suffix.lower() in SUFFIXES and not os.path.isdir(path))  # which raises nothing, whatever a link leads to
    found = [path for path in files if not is_written(path)]
    if not found:
        subfolders = ", or --recursive to anet predict for its subfolders" * any(os.path.isdir(path) and not path.is_symlink() for path in listed)
        raise FileNotFoundError(f"{source} holds no picture that ends in {', '.join(SUFFIXES)}, but for what anet predict wrote; give a folder that does{subfolders}.")
    return sorted(found, key=lambda path: (tuple(map(natural, path.parent.parts)), natural(path.stem), path.name))


def save(image: np.ndarray, path: Path) -> None:
    """Write a picture as PNG, whole or not at all, with a head by which ``is_written`` knows it."""
    text = PngInfo()
    text.add_text(*WRITER)
    with whole(path) as temporary:
        Image.fromarray(image).save(temporary, "PNG", pnginfo=text, compress_level=3)  # of a picture in half the time of 6, a twentieth larger


def is_written(path: Path) -> bool:
    """Whether a file is as ``save`` wrote it; one that another program wrote again is not."""
    try:
        if path.is_file():  # a pipe would be waited for
            with path.open("rb") as file:
                return "\0".join(WRITER).encode() in file.read(64)  # of a PNG the signature, the size, and where save puts the text
    except OSError:  # what cannot be read is told by who reads the picture
        pass
    return False


def require_folder(folder: Path) -> None:
    """Make a folder where there is none; OSError unless a file can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(f"{folder} cannot be written to ({error.strerror}); give another --out.") from None
