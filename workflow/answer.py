"""Draw book/answer.svg, the figure that the README and the book begin with, from the recorded runs.

    python workflow/answer.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from anet_core import figures, records
from anet_core.grid import NEU
from anet_core.paper import printed_iou
from anet_core.standings import runs_by_network
from anet_core.statistics import bootstrap, interval, mean
from data_prep import neu

FILE = Path(__file__).resolve().parents[1] / "book" / "answer.svg"
WAYS = {  # how A-Net was trained: the variant of the data set, the protocol
    "trained as printed, split at random": (neu.RANDOM, "printed"),
    "our learning rate, split at random": (neu.RANDOM, "tuned"),
    "the same, split by surface six times": ("", "tuned"),
    "split by surface, masks from boxes": (neu.PROPOSED, "tuned"),
}


def estimates() -> pd.DataFrame:
    """A-Net's pooled IoU in percent, the mean over all runs (``statistics.mean``), with its 95 % interval, a row a data set of NEU and a way that it was run in."""
    recorded, rows = records.read_all(), []
    for dataset in NEU:
        found = {way: runs_by_network(recorded, dataset + variant, protocol).get("A-Net") for way, (variant, protocol) in WAYS.items()}
        for way, runs in ((way, runs) for way, runs in found.items() if runs):
            low, high = interval(bootstrap(runs))
            printed = printed_iou("A-Net", dataset)
            rows.append({"dataset": dataset, "way": way, "runs": len(runs), "iou": mean(runs), "low": low, "high": high, "printed": printed})
    return pd.DataFrame(rows)


def draw(file: Path = FILE) -> None:
    """Write the figure; the same runs give the same file, byte for byte."""
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "answer", "font.family": "sans-serif"}):
        figure = figures.ways(estimates(), list(WAYS))
        figure.savefig(file, metadata={"Date": None, "Creator": None}, facecolor="white")
        plt.close(figure)


if __name__ == "__main__":
    draw()
