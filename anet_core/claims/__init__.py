"""The claims ledger: every number and comparison that the paper prints, beside ours, with a verdict.

What is printed comes from ``anet_core.paper.cells``: the tables, and what the text says (paper/claims.csv). The ``check`` of
a claim names a function of ``comparisons`` or ``sentences`` and its arguments; it holds the claim against the paper's own
tables and against ``evidence``. Ours and the verdict are never typed.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from anet_core import records
from anet_core.claims import comparisons, sentences
from anet_core.claims.comparisons import CONTRADICTS, VERDICTS, Finding
from anet_core.claims.evidence import Evidence
from anet_core.paper.cells import SETS, Claim, cells, text_claims

__all__ = ["VERDICTS", "ledger"]
CHECKS = comparisons.CHECKS | sentences.CHECKS
PAGES = {  # by the first word of a check, or by its quantity or module
    "fps": "timing", "parameters": "complexity_audit", "macs": "complexity_audit", "kparams": "blocks", "mflops": "blocks",
    "depthwise_parameters": "blocks", "depthwise_groups": "blocks", "setting": "protocol", "rotation": "protocol",
    "anet_core.loss": "loss", "data_prep.neu": "dataset-neu-inclusion",
}


def ledger(results: Path = records.RESULTS) -> pd.DataFrame:
    """Every claim with its verdict.

    Returns:
        DataFrame indexed by id: where, claim, printed (text), unit, ours, low, high, tables ("agree", what they say instead,
        or nothing), by_ours (one of VERDICTS: of our counts and runs alone), verdict (the same, or that the paper contradicts itself), reason, effects, check, page (of the book, where ours is computed).

    Raises:
        ValueError: a check fails; it names the claim.
    """
    evidence, rows = Evidence(results), []
    for claim in [*cells().values(), *text_claims()]:
        try:
            name, *arguments = claim.check.split()
            found = CHECKS[name](claim, evidence, *arguments)
        except Exception as error:
            raise ValueError(f"claim {claim.id}: the check {claim.check!r} fails ({type(error).__name__}: {error}).") from error
        contradicted = isinstance(found.tables, str)
        if found.low == found.high:  # a count
            found = replace(found, low=None, high=None)
        rows.append(vars(claim) | vars(found) | {
            "by_ours": found.verdict, "verdict": CONTRADICTS if contradicted else found.verdict, "page": page(claim, found),
            "tables": found.tables if contradicted else "agree" if found.tables else "",
        })
    return pd.DataFrame(rows).set_index("id").astype({"ours": float, "low": float, "high": float})


def page(claim: Claim, found: Finding) -> str:
    """The page of the book that computes ours, or where there is nothing of ours the one that shows what is printed."""
    name, first = (claim.check.split() + [""])[:2]
    kind, _, dataset = first.partition("/")
    if found.ours is None:
        return "paper_tables"
    if kind == "iou" and claim.check.endswith(" printed"):
        return "protocol"
    if kind == "iou":
        return f"{'ablation' if 'A-Net:' in claim.check else 'comparison'}-{SETS.get(first, (dataset,))[0]}"
    return "blocks" if "A-Net:" in claim.check else PAGES.get(kind) or PAGES.get(name) or "network"
