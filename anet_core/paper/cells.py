"""The paper's tables cell by cell, each with what it claims and the check of ``anet_core.claims`` that decides it."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import pandas as pd

from anet_core.grid import NEU
from anet_core.registry import ABLATION
from anet_core.subject import published
from data_prep.dagm import CLASSES

DAGM = tuple(CLASSES)
SETS = {"iou/neu": NEU, "iou/dagm": DAGM}  # the IoU on NEU-Seg or DAGM-Seg is the mean over their sets
PLACES = {
    "table1_stages": "Table I", "section3c_blocks": "III.C", "table2_ablation": "Table II", "table3_neu": "Table III",
    "table4_dagm": "Table IV", "fig7_cpu_fps": "Fig. 7",
}
COLUMNS = {  # what a column says of a row, in which unit, and the check, {} being the row
    **{name.replace("-", "_"): (f"IoU on {name}", "%", f"value iou/{name} {{}}") for name in (*NEU, *DAGM)},
    "params_m": ("parameters", "M", "value parameters {}"),
    "gflops": ("FLOPs at 224x224", "G", "value macs/224 {}"),
    "gflops_224": ("FLOPs at 224x224", "G", "value macs/224 {}"),
    "gflops_512": ("FLOPs at 512x512", "G", "value macs/512 {}"),
    "kparams": ("parameters at 32 channels", "k", "value kparams {}"),
    "mflops": ("FLOPs at 32x112x112", "M", "value mflops {}"),
    "i7_10750h_windows_fps": ("pictures a second, Windows", "1/s", "value fps/windows {}"),
    "xeon_e5_2650v4_linux_fps": ("pictures a second, Linux", "1/s", "value fps/linux {}"),
    **{
        f"{way}_{width}": (f"C{width[1:]} on the way {way}", "", f"stage {{}} {way} {width}")
        for way in ("down", "up") for width in ("c_in", "c_m", "c_out")
    },
    "size": ("output size", "", "stage {} down size"),
}


@dataclass(frozen=True)
class Claim:
    """What the paper prints: where, in short words, the digits as printed (none for a comparison), how it is checked."""

    id: str
    where: str
    claim: str
    printed: str
    unit: str
    check: str
    note: str = ""  # where our copy of the text has other digits

    @property
    def number(self) -> float:
        """The printed number; "1/4" is one."""
        return float(Fraction(self.printed))

    def equals(self, value: float) -> bool:
        """Whether a value, rounded to the last printed digit, is the printed one; a fraction is met exactly."""
        last_digit = 0 if "/" in self.printed else 10 ** -len(self.printed.partition(".")[2])
        return abs(value - self.number) <= last_digit / 2 + 1e-9


def read(name: str) -> list[dict[str, str]]:
    """The rows of a CSV of this folder, the digits as printed."""
    return pd.read_csv(Path(__file__).with_name(f"{name}.csv"), dtype=str, keep_default_na=False).to_dict("records")


def cell_id(table: str, row: str, column: str) -> str:
    """The id of a printed cell, for links into the ledger's page: claims.html#table3-enet-params-m."""
    return re.sub(r"[^a-z0-9]+", "-", f"{table.split('_')[0]} {row} {column}".lower()).strip("-")


def row_name(row: dict[str, str]) -> str:
    """What a row of a printed table is about: a network, a block, or a line of Table I ("S1/Down")."""
    if "light_block" in row:
        components = [cell == "1" for cell in list(row.values())[:4]]
        return next(name for name, has in ABLATION.items() if list(has.values()) == components)
    return row.get("method") or row.get("block") or f"{row['stage']}/{row['down']}".strip("/")


@cache
def cells() -> dict[str, Claim]:
    """Every printed cell by its id; a "-" of Table IV, empty in the CSV, says that the network did not converge."""
    found = {}
    for table, place in PLACES.items():
        for row in read(table):
            name = row_name(row)
            for column in (column for column in row if column in COLUMNS):
                (what, unit, check), key, text = COLUMNS[column], cell_id(table, name, column), row[column]
                if text:
                    note = row["note"] if row.get("misread") == column else ""
                    found[key] = Claim(key, place, f"{name}: {what}", text, unit, check.format(name), note)
                elif table == "table4_dagm":
                    dataset = column.replace("_", "-")
                    what = f"{name} does not converge on {dataset}"
                    found[key] = Claim(key, place, what, "-", "", f"diverges {dataset} {name}")
    return found


@cache
def cell_of() -> dict[tuple[str, ...], Claim]:
    """The printed cell of a quantity and a network; where Tables II and III both print one, as of A-Net, that of Table III."""
    return {tuple(cell.check.split()[1:]): cell for cell in cells().values() if cell.check.startswith("value")}


def iou_on(dataset: str) -> str:
    """The quantity that the paper prints for a data set, or for the one that it is a variant of."""
    return f"iou/{published(dataset)}"


def printed(quantity: str, network: str) -> float | None:
    """A printed value, or the mean over the sets of SETS; None where it is not printed."""
    if quantity in SETS:
        values = [printed(f"iou/{dataset}", network) for dataset in SETS[quantity]]
        return None if None in values else sum(values) / len(values)
    cell = cell_of().get((quantity, network))
    return cell.number if cell else None


def text_claims() -> list[Claim]:
    """The rows of claims.csv, what the text says; a value that stands in a table is left empty there and taken from it.

    Raises:
        ValueError: a value is left empty and stands in no table.
    """
    claims = []
    for row in read("claims"):
        name, quantity, network = (row["check"].split() + ["", "", ""])[:3]
        if not row["printed"] and name in ("value", "equation"):
            cell = cell_of().get((published(quantity), network))
            if cell is None:
                raise ValueError(f"claim {row['id']} of claims.csv: no table prints {quantity} of {network}; write down what is printed.")
            row |= {"printed": cell.printed, "unit": cell.unit}
        claims.append(Claim(**row))
    return claims
