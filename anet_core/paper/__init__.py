"""The paper's tables, the block figures of its Sec. III.C and its Fig. 7 as printed, one CSV each."""

from pathlib import Path

TABLES = ("section3c_blocks", "table2_ablation", "table3_neu", "table4_dagm", "fig7_cpu_fps")


def table(name: str):
    """A printed table as a DataFrame; empty cells are what the paper leaves open ("-": did not converge).

    Args:
        name: one of TABLES. The column ``note`` says where a digit of the text was misread.

    Raises:
        ValueError: another name.
    """
    import pandas as pd

    if name not in TABLES:
        raise ValueError(f"unknown table {name!r}; known: {', '.join(TABLES)}.")
    return pd.read_csv(Path(__file__).parent / f"{name}.csv")


def printed_iou(model: str, dataset: str) -> float | None:
    """The IoU in percent that Tables II-IV print for a network on a data set; None where they print none.

    A data set may be one of our variants of a printed one, as neu-inclusion-random: the same pictures.
    """
    from anet_core.paper.cells import iou_on, printed

    return printed(iou_on(dataset), model)
