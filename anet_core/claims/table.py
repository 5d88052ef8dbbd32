"""The ledger as the table of a page."""

from html import escape

import pandas as pd

from anet_core.claims import CHECKS

HEADINGS = ("where", "claim", "printed", "ours", "verdict", "remark", "computed by")


def html(ledger: pd.DataFrame) -> str:
    """A sortable table, a row a claim, with the claim's id as its anchor and a link to the page that computes ours."""
    heading = "".join(f'<th{" class=number" * (name in ("printed", "ours"))}>{name}</th>' for name in HEADINGS)
    rows = [
        f'<tr id="{key}"><td><a href="#{key}">{escape(row["where"])}</a></td><td>{escape(row["claim"])}</td>'
        f'<td class="number">{with_unit(row["printed"], row["unit"])}</td><td class="number">{with_unit(ours(row), row["unit"])}</td>'
        f'<td>{row["verdict"]}</td><td>{escape(remark(row))}</td>'
        f'<td><a href="{row["page"]}.html">{row["page"]}</a>: <code title="{escape(what(row))}">{escape(row["check"])}</code></td></tr>'
        for key, row in ledger.iterrows()
    ]
    return f'<table class="sortable ledger"><thead><tr>{heading}</tr></thead><tbody>\n' + "\n".join(rows) + "\n</tbody></table>"


def by_place(part: pd.DataFrame) -> pd.DataFrame:
    """Rows of the ledger under their place in the paper, a link to the row of the whole; ours as text, with interval and unit."""
    links = [f'<a href="claims.html#{key}">{escape(where)}</a>' for key, where in part["where"].items()]
    shown = [with_unit(ours(row), row["unit"]) for _, row in part.iterrows()]
    return part.assign(ours=shown).set_index(pd.Index(links, name="where"))


def what(row: pd.Series) -> str:
    """What a check computes, by its own first line."""
    return CHECKS[row["check"].split()[0]].__doc__.splitlines()[0]


def with_unit(value: str, unit: str) -> str:
    """A value and its unit; nothing without a value."""
    return escape(f"{value} {unit}".strip()) if value else ""


def ours(row: pd.Series) -> str:
    """Our value with as many decimals as the printed one, and its interval; four digits where none is printed."""
    _, point, decimals = row["printed"].partition(".")
    form = f".{len(decimals)}f" if point else ".4g"
    if pd.isna(row["ours"]):
        return ""
    return f"{row['ours']:{form}}" + ("" if pd.isna(row["low"]) else f" ({row['low']:{form}} to {row['high']:{form}})")


def remark(row: pd.Series) -> str:
    """What the paper's own tables say, what else is to be said, and how large a lead is."""
    tables = row["tables"] and f"the paper's tables: {row['tables']}"
    effects = row["effects"] and f"effect {row['effects']}"
    return "; ".join(filter(None, (tables, row["reason"], effects)))
