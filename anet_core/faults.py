"""What is wrong with a record, or with the data that it was made from."""

from pathlib import Path

from anet_core import records
from anet_core.dataset import manifest_sha256
from anet_core.protocol import PROTOCOLS, protocol
from anet_core.registry import names
from data_prep import locate
from data_prep.format import read_manifest, sha256


def fault(path: Path) -> str | None:
    """What is wrong with a record: damaged, under another name, or made from data or by settings that have changed since."""
    try:
        record = records.read(path)
    except (ValueError, OSError) as error:
        return str(error)
    name = records.name_of(record)
    if name != path.stem:
        return f"{path} holds the run {name}; rename or delete it."
    if record["model"] not in names():
        return f"{path} is of an unknown network, {record['model']!r}; delete it."
    if not len(record["losses"]) == record["iterations"] > 0:
        return f"{path} holds {len(record['losses'])} losses of {record['iterations']} iterations; delete it and run that cell again."
    if record["protocol"] in PROTOCOLS:
        values = protocol(record["protocol"]).for_dataset(record["dataset"]).values()
        if other := [key for key, value in values.items() if record[key] != value]:
            return f"{path} was made with the {other[0]} {record[other[0]]}, but {record['protocol']} has {values[other[0]]}; delete it and run that cell again."
    try:
        folder = locate(record["dataset"])
    except (ValueError, OSError):
        return None  # its data is not here to compare with
    try:
        same = record["manifest_sha256"] == manifest_sha256(folder)
    except (ValueError, OSError) as error:
        return f"{path} cannot be compared with its data: {error}"
    return None if same else f"{path} was made from other data than {folder} holds now; delete it or restore the data."


def changed(folder: Path) -> str | None:
    """The first file of a data set that is not the one its manifest describes, in one sentence."""
    for row in read_manifest(folder):
        for kind in ("image", "mask"):
            path = folder / f"{kind}s" / f"{row['id']}.png"
            if not path.is_file() or sha256(path) != row[f"{kind}_sha256"]:
                return f"{path} is not the file that the records on {folder.name} were made from; restore it."
    return None
