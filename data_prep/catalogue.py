"""The known data sets, and where a data set's folder is: the one setting ANET_DATA."""

import getpass
import os
import tempfile
from pathlib import Path

from data_prep import dagm, format, magnetic_tile, neu, splits, synthetic

PROPOSED = {name + neu.PROPOSED: name for name in neu.PREFIXES}
FOLDERS = {  # the folders of the original pictures under ANET_DATA; none for a drawn set
    "synthetic": (), dagm.SYNTHETIC: (), **dict.fromkeys(neu.NAMES, (neu.SOURCE,)),
    **dict.fromkeys(PROPOSED, (neu.SOURCE, "NEU-DET")), magnetic_tile.NAME: (magnetic_tile.SOURCE,),
    **dict.fromkeys(dagm.CLASSES, (dagm.SOURCE,)),
}
NAMES = tuple(FOLDERS)


def data_root() -> Path:
    """The folder of all data sets: ANET_DATA, by default data/ in the checkout."""
    return Path(os.environ.get("ANET_DATA") or Path(__file__).resolve().parents[1] / "data").absolute()


def place(name: str, out: Path | None = None) -> Path:
    """The folder of a set of one's own in ``out``, by default ANET_DATA; ValueError where a known one has its name, or it is no name."""
    if name in NAMES:
        raise ValueError(f"{name} is a known data set, whose results are kept under that name; give yours another.")
    if name in ("", ".", "..") or Path(name).name != name:
        raise ValueError(f"{name!r} is no name for a data set; give one without slashes.")
    return (out or data_root()) / name


def make(name: str, out: Path, source: Path | None = None) -> Path:
    """Make a known data set.

    Args:
        out: the folder that gets a folder ``name``.
        source: the folder of the original pictures, by default the one of FOLDERS under ANET_DATA; for PROPOSED, which
            has two, the folder that holds both, by default ANET_DATA.

    Returns:
        the new folder.

    Raises:
        ValueError: unknown name, damaged picture. FileNotFoundError, FileExistsError: see ``format.write``.
    """
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(NAMES)}.")
    folder = Path(out) / name
    if name == "synthetic":
        format.write(folder, synthetic.samples(), synthetic.TEST)
    elif name == dagm.SYNTHETIC:
        format.write(folder, dagm.synthetic(), dagm.TEST)
    elif name in PROPOSED:
        from data_prep import neu_det  # its libraries are not needed elsewhere

        both = Path(source or data_root())
        samples = neu_det.proposed_samples(name, both / neu_det.SOURCE, both / neu.SOURCE)
        format.write(folder, samples, neu.TEST, groups=neu.surface_groups(PROPOSED[name]))
    else:
        [original] = FOLDERS[name]
        source = Path(source or data_root() / original)
        if name in neu.NAMES:
            format.write(folder, neu.samples(name, source), neu.TEST, groups=neu.surface_groups(name))
        elif name == magnetic_tile.NAME:
            format.write(folder, magnetic_tile.samples(source), magnetic_tile.TEST, groups=magnetic_tile.tile_groups(source))
        else:
            format.write(folder, dagm.samples(name, source), dagm.TEST)
    return folder


def locate(dataset: str) -> Path:
    """The folder of a data set: a plain name is looked for under ANET_DATA first, anything else is a path.

    A drawn set needs no source and is made on first use; where ANET_DATA has none, in the system's folder for
    temporary files.

    Raises:
        ValueError: neither a known name nor a folder. FileNotFoundError: a known one that was not made yet.
    """
    folder = data_root() / dataset
    if dataset not in ("", "..") and Path(dataset).name == dataset and folder.is_dir():
        return folder
    if dataset in NAMES and not FOLDERS[dataset]:
        return drawn(dataset)
    if dataset in NAMES:
        raise FileNotFoundError(
            f'{folder} does not exist; make it with "python -m data_prep make {dataset}" where ANET_DATA has {" and ".join(FOLDERS[dataset])}, '
            f"or set ANET_DATA to the folder that holds it."
        )
    if dataset and Path(dataset).is_dir():
        return Path(os.path.abspath(dataset))  # a link keeps its own name
    raise ValueError(f"unknown data set {dataset!r}; known: {', '.join(NAMES)}; or the path of a folder.")


def drawn(name: str) -> Path:
    """A drawn set among the temporary files, drawn unless it is there."""
    # The code that draws it is part of the name, so that a change of it is never answered with the old pixels.
    version = "".join(format.sha256(Path(module.__file__))[:8] for module in (synthetic, dagm, format, splits))
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the number of a user without a name, as in containers
        user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"anet-data-{user}-{version}" / name
    if not folder.is_dir():
        try:
            make(name, folder.parent)
        except OSError:
            if not folder.is_dir():  # else another process drew the same pixels first
                raise
    return folder
