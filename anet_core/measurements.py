"""The tables that ``workflow/deployment.py`` and ``workflow/training_speed.py`` measure, results/deployment/MACHINE--TABLE.csv, and those of ``workflow/gpu_speed.py``."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from anet_core.records import RESULTS
from anet_core.rewrites import REWRITES

FOLDER = RESULTS / "deployment"
MOST_LOST = 0.3  # points of IoU that a precision may cost
EARLIER = {"pair_first_block": "pair_picture"}  # rewrites, and those that they took the place of
UNSTEADY = 1.5  # times from the 5th to the 95th percentile


def path(table: str, machine: str) -> Path:
    """The file of a table, where ``machine`` is ``timing.machine()``, with "--quick" behind it for a first look."""
    return FOLDER / f"{machine}--{table}.csv"


def machines(table: str = "*") -> list[str]:
    """Those that a table, or any, was measured on, first looks not counted.

    Raises:
        FileNotFoundError: there are none.
    """
    names = sorted({file.name.split("--")[0] for file in FOLDER.glob(f"*--{table}.csv") if "--quick--" not in file.name})
    if not names:
        raise FileNotFoundError(f'no measured tables lie in {FOLDER}; make them with "python workflow/deployment.py".')
    return names


def recorded(table: str, machine: str) -> pd.DataFrame:
    """A table as it was measured on a machine.

    Raises:
        FileNotFoundError: it was not.
    """
    file = path(table, machine)
    if not file.is_file():
        script = "training_speed.py" if table == "training" else f"deployment.py --only {table}"
        raise FileNotFoundError(f'{file} does not exist; make it on that machine with "python workflow/{script}".')
    return pd.read_csv(file)


def gpus(table: str = "networks", row: tuple[str, ...] = ("model",)) -> dict[str, pd.DataFrame]:
    """Training steps a second on each GPU that was measured (``workflow/gpu_speed.py``), by its name: the last of each row.

    Args:
        table: "networks" or "side-by-side".
        row: the columns that tell one row from another, which become the index.
    """
    tables = {file.name.split("--")[0]: pd.read_csv(file).set_index(list(row)) for file in sorted((RESULTS / "gpu").glob(f"*--{table}.csv"))}
    return {gpu: table[~table.index.duplicated(keep="last")] for gpu, table in tables.items()}


def applied(machine: str) -> list[str]:
    """Names, the rewrites among them that A-Net had when a machine was measured; the rewrites of today where only ``timing``'s table was made."""
    today = [rewrite.__name__ for rewrite in REWRITES]
    return list(recorded("rewrites", machine)["network"]) if path("rewrites", machine).is_file() else today


def without(machine: str) -> str:
    """A sentence on the rewrites that came after a machine was measured, "" where none did."""
    had = applied(machine)
    later = [rewrite.__name__ for rewrite in REWRITES if rewrite.__name__ not in had]
    before = {name: EARLIER[name] for name in later if EARLIER.get(name) in had}
    lacking = ", ".join(name for name in later if name not in before)
    parts = [f"has {old} in the place of {new}" for new, old in before.items()] + [f"is without {lacking}"] * bool(lacking)
    return f"A-Net rewritten {' and '.join(parts)}, which came later" if parts else ""


def conditions(machine: str) -> str:
    """What the models of a machine's tables take, the picture itself since ``pair_picture``, and what A-Net rewritten lacks."""
    taken = "the picture itself, in 8 bits" if {"pair_picture", "pair_first_block"} & set(applied(machine)) else "values that were scaled before"
    return ". ".join(filter(None, (f"which take {taken}", without(machine))))


def unsteady(times: pd.DataFrame) -> str:
    """A sentence on a table of times, columns p5_ms and p95_ms, where the machine's speed changed meanwhile; else ""."""
    apart = (times["p95_ms"] / times["p5_ms"]).median()
    if apart < UNSTEADY:
        return ""
    return (
        f"The machine's speed changed meanwhile: the 95th percentile of a network's calls is {apart:.1f} times the 5th. "
        "Compare ratios, which are taken within a turn, and not the milliseconds of two tables or data sets."
    )


def acceptable(precisions: pd.DataFrame, forms: Sequence[str] = ("A-Net, rewritten",)) -> pd.DataFrame:
    """Of the table of that name, forms of A-Net in each precision that costs at most MOST_LOST points on each data set."""
    ours = precisions[precisions["network"].isin(forms)]
    return ours.groupby(["network", "precision"]).filter(lambda rows: rows["gain"].min() >= -MOST_LOST)
