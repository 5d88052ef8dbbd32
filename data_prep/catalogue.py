"""The known data sets, and where a data set's folder is: the one setting ANET_DATA."""

import getpass
import os
import tempfile
from pathlib import Path

from data_prep import format, neu, synthetic

NAMES = ("synthetic", *neu.NAMES)


def data_root() -> Path:
    """The folder of all data sets: ANET_DATA, by default data/ in the checkout."""
    return Path(os.environ.get("ANET_DATA") or Path(__file__).resolve().parents[1] / "data").absolute()


def make(name: str, out: Path, source: Path | None = None) -> Path:
    """Make a known data set.

    Args:
        out: the folder that gets a folder ``name``.
        source: the folder of the original pictures; by default ANET_DATA/SD-saliency-900.

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
    else:
        samples = neu.samples(name, Path(source or data_root() / neu.SOURCE))
        format.write(folder, samples, neu.TEST, groups=neu.surface_groups(name))
    return folder


def locate(dataset: str) -> Path:
    """The folder of a data set: a known one under ANET_DATA, or a path.

    The synthetic set, which needs no source, is drawn on first use; where ANET_DATA has none, into the
    system's folder for temporary files.

    Raises:
        ValueError: neither a known name nor a folder. FileNotFoundError: a known one that was not made yet.
    """
    folder = data_root() / dataset
    if folder.is_dir():
        return folder
    if dataset == "synthetic":
        return drawn_synthetic()
    if dataset in NAMES:
        raise FileNotFoundError(
            f'{folder} does not exist; make it with "python -m data_prep make {dataset} --source DIR", '
            f"DIR being the folder {neu.SOURCE}, or set ANET_DATA to the folder that holds it."
        )
    if Path(dataset).is_dir():
        return Path(dataset).resolve()
    raise ValueError(f"unknown data set {dataset!r}; known: {', '.join(NAMES)}; or the path of a folder.")


def drawn_synthetic() -> Path:
    """The synthetic set among the temporary files, drawn unless it is there."""
    # The code that draws it is part of the name, so that a change of it is never answered with the old pixels.
    version = format.sha256(Path(synthetic.__file__))[:8]
    folder = Path(tempfile.gettempdir()) / f"anet-data-{getpass.getuser()}-{version}" / "synthetic"
    if not folder.is_dir():
        try:
            make("synthetic", folder.parent)
        except OSError:
            if not folder.is_dir():  # else another process drew the same pixels first
                raise
    return folder
