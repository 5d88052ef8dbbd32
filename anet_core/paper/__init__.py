"""The paper's tables, the block figures of its Sec. III.C and its Fig. 7 as printed, one CSV each."""

from pathlib import Path


def table(name: str):
    """A printed table as a DataFrame; empty cells are what the paper leaves open ("-": did not converge).

    Args:
        name: a CSV of this folder, without its ending. The column ``misread`` names the one whose digits our copy of the text has otherwise, ``note`` says how.
    """
    import pandas as pd

    return pd.read_csv(Path(__file__).parent / f"{name}.csv")


def printed_iou(model: str, dataset: str) -> float | None:
    """The IoU in percent that Tables II-IV print for a network on a data set; None where they print none.

    A data set may be one of our variants of a printed one, as neu-inclusion-random: the same pictures.
    """
    from anet_core.paper.cells import iou_on, printed

    return printed(iou_on(dataset), model)
