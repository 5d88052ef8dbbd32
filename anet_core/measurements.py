"""The tables that ``workflow/deployment.py`` and ``workflow/training_speed.py`` measure: results/deployment/MACHINE--TABLE.csv."""

from pathlib import Path

import pandas as pd

from anet_core.records import RESULTS

FOLDER = RESULTS / "deployment"


def path(table: str, machine: str) -> Path:
    """The file of a table, where ``machine`` is ``timing.machine()``, with "--quick" behind it for a first look."""
    return FOLDER / f"{machine}--{table}.csv"


def machines() -> list[str]:
    """Those that tables were measured on, first looks not counted.

    Raises:
        FileNotFoundError: there are none.
    """
    names = sorted({file.name.split("--")[0] for file in FOLDER.glob("*--*.csv") if "--quick--" not in file.name})
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
