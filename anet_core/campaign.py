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
import sys
import time
from collections import Counter
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import torch

from anet_core import records
from anet_core.effort import seconds_needed
from anet_core.exchange import export_records, import_records
from anet_core.faults import changed, fault
from anet_core.grid import GRID, Cell
from anet_core.protocol import protocol
from anet_core.run import claim, run
from anet_core.training import TimeUp, read_checkpoint
from data_prep import locate
from data_prep.command_line import exit_code


def selected(pattern: str | None) -> list[Cell]:
    """The cells of the grid whose names match a shell pattern; ValueError if there is none."""
    cells = [cell for cell in GRID if fnmatch(cell.name, pattern or "*")]
    if not cells:
        raise ValueError(f"no cell of the grid matches {pattern!r}; a name looks like {GRID[0].name!r}.")
    return cells


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
    path = cell.record(results)
    if path.exists():
        return fault(path) or "done"
    return "running" if held(cell.name, results) else "missing"


def held(name: str, results: Path) -> bool:
    """Whether a process works on a run."""
    if not (results / "checkpoints" / f"{name}.claim").exists():
        return False
    with claim(name, results, patience=0) as free:
        return not free


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
        name = path.name.rsplit(".", 3)[0]  # see ``whole``; any run's, not only of the cells that were asked for
        if not held(name, results):
            print(f"faulty   {path} was cut short while it was written; delete it, it counts for nothing.")


def run_cells(cells: list[Cell], results: Path, device: str, minutes: float | None, wait: bool) -> int:
    """Run the missing cells in order, until done or out of time; those of other workers are left out or waited for.

    Returns:
        how many cells failed, and data sets were missing, each with a sentence on why; a faulty record or a full disk
        ends a cell, not the others.
    """
    deadline = time.monotonic() + 60 * minutes if minutes is not None else None
    absent = lacking_data([cell for cell in cells if not cell.record(results).exists()])
    for sentence in absent.values():
        print(f"left out {sentence}", file=sys.stderr)
    failed = len(absent)
    for cell in cells:
        if cell.dataset in absent:
            continue
        if cell.record(results).exists():
            if wrong := fault(cell.record(results)):
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


@exit_code
def main(arguments: list[str] | None = None) -> int | None:
    """The command line."""
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


if __name__ == "__main__":
    sys.exit(main())
