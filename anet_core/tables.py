"""The book's tables: what the paper prints leads to its row of the ledger, what is ours carries its interval."""

from collections.abc import Mapping
from html import escape

import pandas as pd
from IPython.display import HTML

from anet_core.paper.cells import COLUMNS, Claim, cell_id, cell_of, cells, read, row_name

TICKS = {"0": "", "1": "yes"}  # of Table II, and nothing else that is no claim


def link(claim: Claim) -> str:
    """A printed number, as a link to its row of the ledger."""
    return f'<a href="claims.html#{claim.id}">{escape(claim.printed)}</a>'


def show(table: pd.DataFrame, printed: Mapping[str, str] = {}, decimals: int = 2) -> HTML:
    """A table of ours, its numbers rounded, what is missing left empty, and a column of which all is missing left out.

    Columns whose names end in ``low`` and ``high`` are the interval of the column before them, and are shown in it: "68.88 (62.09 to 75.55)".

    Args:
        table: a row a network or a block, by name.
        printed: columns that hold what the paper prints, and of what quantity ("parameters", "iou/neu-patches"; see
            ``anet_core.paper.cells``): they are shown with the paper's digits and lead to the ledger.
        decimals: of every other number that is not whole.
    """
    number = f"{{:.{decimals}f}}".format
    links = {column: [link(cell_of()[key]) if (key := (quantity, name)) in cell_of() else None for name in table.index]
             for column, quantity in printed.items()}
    table = table.assign(**links).rename_axis(index=None, columns=table.index.name)
    for low in [column for column in table if str(column).split()[-1:] == ["low"]]:
        at = table.columns.get_loc(low)
        value, _, high = table.columns[at - 1 : at + 2]
        interval = " (" + table[low].map(number) + " to " + table[high].map(number) + ")"
        shown = table[value].map(number) + interval.where(table[low].notna(), "")
        table = table.assign(**{value: shown.where(table[value].notna(), None)}).drop(columns=[low, high])
    return HTML(table.dropna(axis=1, how="all").to_html(escape=False, na_rep="", float_format=number, border=0))


def paper_table(name: str) -> HTML:
    """One of the paper's tables with its digits, each a link to its row of the ledger; without the notes on them.

    Args:
        name: a file of ``anet_core/paper``.
    """
    rows = []
    for row in read(name):
        claims = {column: cells().get(cell_id(name, row_name(row), column)) for column in row if column not in ("misread", "note")}
        rows.append({heading(column): link(claim) if claim else TICKS.get(row[column], row[column]) for column, claim in claims.items()})
    return HTML(pd.DataFrame(rows).to_html(escape=False, index=False, border=0))


def heading(column: str) -> str:
    """What a column of a printed table holds, with its unit."""
    what, unit, _ = COLUMNS.get(column, (column.replace("_", " "), "", ""))
    return f"{what} ({unit})" if unit else what
