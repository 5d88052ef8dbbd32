"""Records and weights from one machine to another, in a tar file."""

import shutil
import tarfile
import tempfile
from pathlib import Path

from anet_core import records
from anet_core.faults import fault
from data_prep.archives import unpack
from data_prep.whole import whole


def export_records(path: Path, results: Path) -> int:
    """Write all records and weights to a tar file, whole or not at all; their number of records."""
    files = sorted((results / "runs").glob("*.json")) + sorted((results / "weights").glob("*.safetensors"))
    with whole(path) as temporary, tarfile.open(temporary, "w") as archive:
        for file in files:
            archive.add(file, f"{file.parent.name}/{file.name}")
    return sum(file.suffix == ".json" for file in files)


def import_records(path: Path, results: Path) -> tuple[int, list[str]]:
    """Merge the records of a tar file, with their weights, into results.

    A record that exists here is kept, and so are weights; weights that are missing here are added. A record that ``fault`` objects to is refused.

    Returns:
        how many were added, and why others were refused.

    Raises:
        FileNotFoundError: there is no such file. ValueError: not an archive, or one that was cut short; nothing is imported then,
            see ``archives.unpack``.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; give an archive that export wrote.")
    added, refused = 0, []
    with tempfile.TemporaryDirectory() as temporary:
        unpacked = Path(temporary) / "all"
        unpack(path, unpacked)
        for incoming in sorted(unpacked.glob("runs/*.json")):
            if wrong := fault(incoming):
                refused.append(wrong.replace(str(unpacked), str(path)))
                continue
            known = results / "runs" / incoming.name
            if known.exists() and known.read_bytes() != incoming.read_bytes():
                continue  # weights of another run of that name would not be what the record tells of
            weights, here = (folder / "weights" / f"{incoming.stem}.safetensors" for folder in (unpacked, results))
            if weights.exists() and not here.exists():
                here.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(weights, here)
            if not known.exists():
                records.write(records.read(incoming), known)
                added += 1
    return added, refused
