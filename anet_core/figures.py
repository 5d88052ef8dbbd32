"""The book's figures: each a function from data to a matplotlib Axes or Figure, in one style."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anet_core.alt_text import describe
from anet_core.dataset import Samples

SMOOTH = 25  # iterations that a loss curve is averaged over

sns.set_theme(style="whitegrid", palette="colorblind", context="notebook", rc={"figure.figsize": (7, 3.6), "figure.dpi": 100})

# A notebook holds this text beside each picture, and the book makes it the picture's alt text.
Figure._repr_pretty_ = lambda figure, printer, cycle: printer.text(describe(figure))


def loss_curves(records: list[dict], of: str = "protocol") -> Axes:
    """Training loss (Eq. 6) of runs, a running mean over 25 iterations, one line for each value of the key ``of``."""
    curves = pd.concat([
        pd.DataFrame({
            "iteration": np.arange(1, len(record["losses"]) + 1),
            "loss": pd.Series(record["losses"]).rolling(SMOOTH, min_periods=1).mean(),
            of: record[of],
        })
        for record in records
    ], ignore_index=True)
    _, axes = plt.subplots()
    return sns.lineplot(curves, x="iteration", y="loss", hue=of, style=of, errorbar=None, ax=axes)


def image_ious(records: list[dict]) -> Axes:
    """For each network, the share of test images whose IoU stays below a value."""
    values = pd.concat([pd.DataFrame({"IoU": r["iou_images"].values(), "network": r["model"]}) for r in records], ignore_index=True)
    _, axes = plt.subplots()
    sns.ecdfplot(values, x="IoU", hue="network", ax=axes)
    axes.set(xlabel="IoU of one image (%)", ylabel="share of test images below", xlim=(0, 100))
    return axes


def panel(samples: Samples, predictions: dict[str, np.ndarray]) -> Figure:
    """Image, true mask and each network's mask, bool (N, H, W), one column an image."""
    return grid({"image": samples.images, "mask": samples.masks, **predictions}, samples.ids)


def pictures(samples: Samples) -> Figure:
    """Image and mask, one column an image."""
    return grid({"image": samples.images, "mask": samples.masks}, samples.ids)


def grid(rows: dict[str, np.ndarray], titles: tuple[str, ...]) -> Figure:
    """Pictures in named rows, one column a title."""
    figure, axes = plt.subplots(len(rows), len(titles), figsize=(1.5 * len(titles), 1.55 * len(rows)), squeeze=False)
    for row, (name, pictures) in enumerate(rows.items()):
        for column, picture in enumerate(pictures):
            axes[row, column].imshow(picture, cmap="gray", interpolation="nearest")
            axes[row, column].set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel(name)
    for column, title in enumerate(titles):
        axes[0, column].set_title(title, fontsize=8)
    figure.tight_layout()
    return figure


def defect_areas(manifest: pd.DataFrame) -> Axes:
    """How much of each picture is defect, in percent, by split."""
    _, axes = plt.subplots()
    sns.ecdfplot(manifest.assign(percent=100 * manifest["defect_fraction"]), x="percent", hue="split", ax=axes)
    axes.set(xlabel="defect area (% of the picture)", ylabel="share of pictures")
    return axes


def latency_front(points: pd.DataFrame) -> Axes:
    """IoU against latency, a labelled point a network (index of points), those on the front marked.

    Args:
        points: columns median_ms, iou (percent) and front (bool).
    """
    _, axes = plt.subplots()
    sns.scatterplot(points, x="median_ms", y="iou", hue="front", style="front", s=80, ax=axes)
    for name, point in points.iterrows():
        axes.annotate(name, (point["median_ms"], point["iou"]), (5, 4), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", xlabel="milliseconds a picture, float32", ylabel="printed IoU (%)")
    return axes


def cost_bubbles(points: pd.DataFrame, cost: str, iou: str, size: str, axes: Axes) -> Axes:
    """IoU against cost, a labelled bubble a network (index of points); the paper's Fig. 1.

    Args:
        cost, iou, size: columns of points: MACs in G (drawn on a logarithmic axis), percent, parameters in M.
    """
    sns.scatterplot(points, x=cost, y=iou, hue="group", size=size, sizes=(20, 900), alpha=0.6, legend=False, ax=axes)
    for name, point in points.iterrows():
        axes.annotate(name, (point[cost], point[iou]), (0, 5), textcoords="offset points", fontsize=7, ha="center")
    axes.set(xscale="log", xlabel="MACs of a 224x224 picture (G)", ylabel="printed IoU (%)")
    return axes
