"""Running the grid: what is done, what is missing, and doing it.

    python -m anet_core.campaign status
    python -m anet_core.campaign next
    python -m anet_core.campaign run --only 'neu-*--A-Net--*' --minutes 25
    python -m anet_core.campaign export runs.tar
    python -m anet_core.campaign import runs.tar

Several workers may run at once on one machine: a cell is run by the one that holds the lock on its claim file,
and a lock ends with its process, however it ends.
"""

import argparse
import shutil
import sys
import tarfile
import tempfile
import time
from collections import Counter
from contextlib import suppress
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from statistics import median

import torch

from anet_core import records
from anet_core.complexity import true_macs
from anet_core.dataset import manifest_sha256
from anet_core.grid import GRID, Cell
from anet_core.protocol import PROTOCOLS, protocol
from anet_core.registry import build, names
from anet_core.run import claim, processor, run
from anet_core.subject import side
from anet_core.training import TimeUp, read_checkpoint
from anet_core.whole import whole
from data_prep import locate
from data_prep.archives import unpack
from data_prep.format import read_manifest, sha256


def selected(pattern: str | None) -> list[Cell]:
    """The cells of the grid whose names match a shell pattern; ValueError if there is none."""
    cells = [cell for cell in GRID if fnmatch(cell.name, pattern or "*")]
    if not cells:
        raise ValueError(f"no cell of the grid matches {pattern!r}; a name looks like {GRID[0].name!r}.")
    return cells


def record_path(cell: Cell, results: Path) -> Path:
    """Where the record of a cell is or will be."""
    return results / "runs" / f"{cell.name}.json"


def lacking_data(cells: list[Cell]) -> dict[str, str]:
    """The data sets of cells that are known but not here, each with a sentence on what to do."""
    absent = {}
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        try:
            with suppress(ValueError):  # an unknown one: running it says so
                locate(dataset)
        except FileNotFoundError as error:
            absent[dataset] = str(error)
    return absent


def state(cell: Cell, results: Path) -> str:
    """"done", "running" or "missing"; else what is wrong with the record, in one sentence."""
    path = record_path(cell, results)
    if path.exists():
        return fault(path) or "done"
    if not (results / "checkpoints" / f"{cell.name}.claim").exists():
        return "missing"
    with claim(cell.name, results, patience=0) as free:
        return "missing" if free else "running"


def stopped(cell: Cell, results: Path) -> str | None:
    """How far a cell came that no worker holds, or what is wrong with its checkpoint; None where it has none."""
    checkpoint = results / "checkpoints" / f"{cell.name}.pt"
    if not checkpoint.exists():
        return None
    try:
        state = read_checkpoint(checkpoint)
    except ValueError as error:
        return f"faulty   {error}"
    return f"stopped  {cell.name} at iteration {len(state['losses'])} of {state['identity']['protocol']['iterations']}; run resumes it"


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


def seconds_a_pixel(results: Path, device: str) -> dict[str, float]:
    """Training time of each network for a pixel, by the grid's records made on this processor: their median."""
    found: dict[str, list[float]] = {}
    for cell in GRID:
        path = record_path(cell, results)
        if not path.exists() or fault(path) or records.diverged(record := records.read(path)):  # one that diverged ended early
            continue
        if record["processor"] == processor(device):
            seen = record["iterations"] * record["batch_size"] * pixels(cell)
            found.setdefault(cell.model, []).append(record["seconds"] / seen)
    return {model: median(seconds) for model, seconds in found.items()}


def seconds_needed(cells: list[Cell], results: Path, device: str) -> tuple[float, set[str]] | None:
    """Estimate of the time that cells need on this processor, and the networks whose part in it is a guess.

    A network without a record is guessed from those that have one, in proportion to ``effort``: good to a factor of a
    few. None without any record made on this processor.
    """
    known = seconds_a_pixel(results, device)
    if not known:
        return None
    rate = median(seconds / effort(model) for model, seconds in known.items())
    total = 0.0
    for cell in cells:
        settings = protocol(cell.protocol).for_dataset(cell.dataset)
        seen = settings.iterations * settings.batch_size * pixels(cell)
        total += known.get(cell.model, rate * effort(cell.model)) * seen
    return total, {cell.model for cell in cells} - known.keys()


def pixels(cell: Cell) -> int:
    """Of one of its pictures; a set that is not a published one counts as NEU."""
    return (side(cell.dataset) or side("neu-inclusion")) ** 2


def effort(model: str) -> int:
    """What the time of a network is taken to be proportional to: true MACs, and what passes by without multiplying.

    The second part is set to nine times A-Net's MACs for every network, by which seven times its MACs take 1.6 times its time; ESNet,
    which does so many, takes 1.3 to 1.5 times it in eager torch on one thread.
    """
    return macs(model) + 9 * macs("A-Net")


@cache
def macs(model: str) -> int:
    """True MACs of a network on a small picture, for comparing one network with another."""
    with torch.device("meta"):
        return true_macs(build(model), 64)


def status(cells: list[Cell], results: Path, device: str) -> None:
    """Print how many cells are done, running, missing and faulty, the time that the missing ones need, and every faulty file.

    The time is that of the cells whose data set is at hand; the other sets are named. A cell whose worker was lost is missing, and
    named with the iteration that it resumes from.
    """
    states = {cell: state(cell, results) for cell in cells}
    missing = [cell for cell in cells if states[cell] == "missing"]
    count = Counter(states.values())
    faulty = len(cells) - count["done"] - count["running"] - len(missing)
    print(f"{len(cells)} cells: {count['done']} done, {count['running']} running, {len(missing)} missing, {faulty} faulty")
    for cell in cells:
        if states[cell] == "running":
            print(f"running  {cell.name}")
    for cell in missing:
        if line := stopped(cell, results):
            print(line)
    absent = lacking_data(missing)
    if missing := [cell for cell in missing if cell.dataset not in absent]:
        estimate = "no run recorded here to estimate from"
        if needed := seconds_needed(missing, results, device):
            seconds, guessed = needed
            estimate = f"about {seconds / 3600:.1f} hours here"
            if guessed:
                estimate += f", guessed for {len(guessed)} of {len({cell.model for cell in missing})} networks"
        print(f"next     {missing[0].name}; all that is missing: {estimate}")
    if absent:
        print(f"no data  of {', '.join(absent)} is here; their cells are left out of the time")
    folders = set()
    for path in sorted((results / "runs").glob("*.json")):
        if wrong := fault(path):
            print(f"faulty   {wrong}")
            continue
        with suppress(ValueError, OSError):  # its data is not here
            folders.add(locate(records.read(path)["dataset"]))
    for folder in sorted(folders):
        if wrong := changed(folder):
            print(f"faulty   {wrong}")
    for path in sorted(results.glob("*/*.tmp")):
        owners = (cell for cell in GRID if path.name.startswith(f"{cell.name}."))  # not only of the cells that were asked for
        if not any(state(cell, results) == "running" for cell in owners):
            print(f"faulty   {path} was cut short while it was written; delete it, it counts for nothing.")


def run_cells(cells: list[Cell], results: Path, device: str, minutes: float | None, wait: bool = False) -> int:
    """Run the missing cells in order, until done or out of time; those of other workers are left out or waited for.

    Returns:
        how many cells failed, and data sets were missing, each with a sentence on why; a faulty record or a full disk
        ends a cell, not the others.
    """
    deadline = time.monotonic() + 60 * minutes if minutes is not None else None
    absent = lacking_data([cell for cell in cells if not record_path(cell, results).exists()])
    for sentence in absent.values():
        print(f"left out {sentence}", file=sys.stderr)
    failed = len(absent)
    for cell in cells:
        if cell.dataset in absent:
            continue
        if record_path(cell, results).exists():
            if wrong := fault(record_path(cell, results)):
                print(f"faulty   {wrong}", file=sys.stderr)
                failed += 1
            continue
        print(cell.name, flush=True)
        try:
            record = run(
                cell.model, locate(cell.dataset), protocol(cell.protocol), cell.split_seed, cell.seed,
                results=results, device=device, deadline=deadline, wait=wait,
            )
            if where := records.diverged(record):
                print(f"{cell.name} diverged at iteration {where}", flush=True)
        except BlockingIOError:
            print(f"{cell.name} is left to the worker that runs it", flush=True)
        except TimeUp:
            print("\nout of time; the checkpoint of this cell is written")
            break
        except (ValueError, OSError, RuntimeError) as error:  # a full disk is the second
            print(flush=True)
            print(f"failed   {cell.name}: {' '.join(str(error).split())}", file=sys.stderr)
            failed += 1
    return failed


def export_records(path: Path, results: Path) -> int:
    """Write all records and weights to a tar file, whole or not at all; their number of records."""
    files = sorted((results / "runs").glob("*.json")) + sorted((results / "weights").glob("*.safetensors"))
    with whole(path) as temporary, tarfile.open(temporary, "w") as archive:
        for file in files:
            archive.add(file, f"{file.parent.name}/{file.name}")
    return sum(file.suffix == ".json" for file in files)


def import_records(path: Path, results: Path) -> tuple[int, list[str]]:
    """Merge the records of a tar file, with their weights, into results.

    A record that exists here is kept. One that ``fault`` objects to is refused.

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
            if (results / "runs" / incoming.name).exists():
                continue
            weights = unpacked / "weights" / f"{incoming.stem}.safetensors"
            if weights.exists():
                (results / "weights").mkdir(parents=True, exist_ok=True)
                shutil.move(weights, results / "weights" / weights.name)
            records.write(records.read(incoming), results / "runs" / incoming.name)
            added += 1
    return added, refused


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0, or 1 after one sentence on what is wrong, or 130 where it was interrupted."""
    parser = argparse.ArgumentParser(prog="python -m anet_core.campaign", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("status", "next", "run", "export", "import"))
    parser.add_argument("file", type=Path, nargs="?", help="the tar file of export and import")
    parser.add_argument("--only", help="a shell pattern of cell names")
    parser.add_argument("--minutes", type=float, help="stop cleanly after this time")
    parser.add_argument("--wait", action="store_true", help="wait for a cell that another worker holds instead of leaving it out")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--results", type=Path, default=records.RESULTS)
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here")
    if options.command in ("export", "import") and options.file is None:
        parser.error(f"{options.command} needs a tar file")
    try:
        if options.command == "export":
            print(f"{export_records(options.file, options.results)} records in {options.file}")
        elif options.command == "import":
            added, refused = import_records(options.file, options.results)
            print(f"{added} records added, {len(refused)} refused", *refused, sep="\n")
        elif options.command == "run":
            return min(1, run_cells(selected(options.only), options.results, options.device, options.minutes, options.wait))
        elif options.command == "next":
            missing = [cell for cell in selected(options.only) if state(cell, options.results) == "missing"]
            absent = lacking_data(missing)
            print(next((cell.name for cell in missing if cell.dataset not in absent), "nothing is missing whose data is here"))
        else:
            status(selected(options.only), options.results, options.device)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
