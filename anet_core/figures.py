"""The book's figures: each a function from data to a matplotlib Axes or Figure, in one style."""

from collections.abc import Sequence
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox

from anet_core.alt_text import describe
from anet_core.dataset import Samples

SMOOTH = 25  # iterations that a loss curve is averaged over
HIGHEST = 10  # loss that a panel shows

sns.set_theme(style="whitegrid", palette="colorblind", context="notebook", rc={"figure.figsize": (7, 3.6), "figure.dpi": 100})

# A notebook holds this text beside each picture, and the book makes it the picture's alt text.
Figure._repr_pretty_ = lambda figure, printer, cycle: printer.text(describe(figure))


def loss_curves(records: list[dict]) -> Axes:
    """Training loss of runs, a running mean over SMOOTH iterations, one line for each protocol.

    It is Eq. 6, to which networks with training heads add the losses of these.
    """
    curves = pd.concat([
        pd.DataFrame({
            "iteration": np.arange(1, len(record["losses"]) + 1),
            "loss": pd.Series(record["losses"]).rolling(SMOOTH, min_periods=1).mean(),
            "protocol": record["protocol"],
        })
        for record in records
    ], ignore_index=True)
    _, axes = plt.subplots()
    return sns.lineplot(curves, x="iteration", y="loss", hue="protocol", style="protocol", errorbar=None, ax=axes)


def losses_by_network(records: list[dict]) -> Figure:
    """Training loss of runs as in ``loss_curves``, a panel each, up to HIGHEST and as long as it is a number; behind it in grey are the others."""
    losses = [pd.Series(record["losses"]) for record in records]
    curves = [loss.rolling(SMOOTH, min_periods=1).mean().where(loss.notna()) for loss in losses]
    bottom, top = 0.9 * pd.concat(curves).min(), min(1.1 * pd.concat(curves).max(), HIGHEST)
    columns = min(4, len(records))
    rows = -(-len(records) // columns)
    size = (1 + 1.9 * columns, 0.7 + 1.5 * rows)
    figure, panels = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained")
    for i, (axes, record) in enumerate(zip(panels.flat, records)):
        for curve in curves:
            axes.plot(curve, color="0.8", linewidth=1)
        axes.plot(curves[i], color="C0")
        axes.set_yscale("log")
        axes.set_ylim(bottom, top)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        axes.set_title(record["model"], fontsize=10)
        axes.tick_params(labelbottom=i + columns >= len(records))
    for axes in panels.flat[len(records) :]:
        axes.remove()
    figure.set_label("Training loss against iteration, a panel a network")
    figure.supxlabel("iteration", fontsize=11)
    figure.supylabel("loss", fontsize=11)
    return figure


def iou_by_iterations(settings: pd.DataFrame, printed: float) -> Axes:
    """IoU against iterations and the printed IoU: a line a learning rate, intervals as bars, broken where the loss sums over the batch.

    Args:
        settings: see ``study.table``.
        printed: percent.
    """
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    tested = settings.dropna().reset_index()
    colors = dict(zip(tested["rate"].unique(), sns.color_palette("colorblind")))
    for (reduction, rate), points in tested.groupby(["reduction", "rate"], sort=False):
        spread = (points["IoU"] - points["low"], points["high"] - points["IoU"])
        line = "o-" if reduction == "image" else "s--"
        label = f"{rate:g}, each {reduction}"
        axes.errorbar(points["iterations"], points["IoU"], spread, fmt=line, color=colors[rate], capsize=3, label=label)
    axes.axhline(printed, color="black", linestyle=":", label="printed IoU")
    axes.set(xlabel="iterations", ylabel="IoU (%)", xlim=(0, None), ylim=(0, 100))
    figure.legend(loc="outside right upper", fontsize=9)
    return axes


def image_ious(records: list[dict]) -> Axes:
    """For each network the IoU of every test image, a dot each, and behind them the median, half and nine tenths of the images."""
    values = pd.concat([pd.DataFrame({"IoU": r["iou_images"].values(), "network": r["model"]}) for r in records], ignore_index=True)
    _, axes = plt.subplots(figsize=(7, 0.8 + 0.35 * len(records)))
    sns.boxplot(values, x="IoU", y="network", whis=(5, 95), fliersize=0, color="0.85", linewidth=1, ax=axes)
    sns.stripplot(values, x="IoU", y="network", size=3, alpha=0.6, jitter=0.25, ax=axes)
    axes.set(xlabel="IoU of one image (%)", ylabel="", xlim=(-2, 102))
    return axes


def ious_by_run(records: list[dict]) -> Axes:
    """The pooled IoU of each run, by its split and seed: a dot each, a colour a network."""
    rows = pd.DataFrame([
        {"network": r["model"], "IoU (%)": r["iou_pooled"], "run": f"split {r['split_seed']}\nseed {r['seed']}"}
        for r in sorted(records, key=lambda r: (r["split_seed"], r["seed"]))
    ])
    _, axes = plt.subplots(figsize=(2.5 + 0.9 * rows["run"].nunique(), 3.2), layout="constrained")
    sns.stripplot(rows, x="run", y="IoU (%)", hue="network", jitter=False, dodge=True, size=8, ax=axes)
    axes.set(xlabel="")
    sns.move_legend(axes, "center left", bbox_to_anchor=(1, 0.5), title=None, frameon=False)
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
    axes.set(xlabel="defect area (% of the picture)", ylabel="share of pictures with no more")
    return axes


def latency_front(points: pd.DataFrame, label: str) -> Axes:
    """IoU against latency, a labelled point a network (index of points), those on the front marked.

    Args:
        points: columns median_ms, iou (percent) and front (bool); low and high, where the IoU has an interval.
        label: of the IoU.
    """
    _, axes = plt.subplots(figsize=(8, 4.5))
    places = points.assign(place=np.where(points["front"], "on the front", "behind it"))
    sns.scatterplot(places, x="median_ms", y="iou", hue="place", style="place", s=80, ax=axes)
    if "low" in points:
        axes.vlines(points["median_ms"], points["low"], points["high"], color="gray", alpha=0.5, zorder=0)
    axes.set(xscale="log", xlabel="milliseconds a picture, float32", ylabel=label)
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks("{x:g}")
    axes.tick_params(axis="x", which="both", length=0, pad=4)
    axes.margins(0.12)
    axes.legend(fontsize=9, loc="lower left")
    axes.figure.canvas.draw()  # which sets the limits, and names are placed in pixels
    name_points(axes, points[["median_ms", "iou"]], 80)
    return axes


def cost_bubbles(points: pd.DataFrame) -> Axes:
    """IoU against cost, the paper's Fig. 1: a pale bubble a network at the work that it does and the IoU that the paper prints.

    A line leads from it to the cost that the paper prints; where the network was run, a dotted one to ours with its interval.

    Args:
        points: by network; ``printed`` and ``true`` MACs in G, ``parameters`` in M (area of the bubble), ``group``; the IoU in
            percent: ``iou`` as printed, ``ours`` with ``low`` and ``high``, missing where the network was not run or diverged.
    """
    figure, axes = plt.subplots(figsize=(8, 5.5), layout="constrained")
    axes.set(xscale="log", xlabel="MACs of a 224x224 picture (G)", ylabel="IoU (%)")
    axes.xaxis.set_major_formatter("{x:g}")
    areas, run = 15 + 8 * points["parameters"], points[points["ours"].notna()]
    for i, (group, rows) in enumerate(points.groupby("group", sort=False)):
        axes.scatter(rows["true"], rows["iou"], areas[rows.index], color=f"C{i}", alpha=0.45)
        axes.plot([], [], "o", color=f"C{i}", alpha=0.45, label=f"{group}, IoU as printed")
    axes.hlines(points["iou"], points["true"], points["printed"], color="0.5", linewidth=1, zorder=1)
    axes.plot(points["printed"], points["iou"], "|", color="0.3", label="MACs as printed")
    if len(run):
        axes.vlines(run["true"], run["iou"], run["ours"], color="0.5", linestyle=":", zorder=1)
        spread = [run["ours"] - run["low"], run["high"] - run["ours"]]
        axes.errorbar(run["true"], run["ours"], spread, fmt="D", color="0.1", markersize=5, capsize=3, label="IoU of ours, 95 % interval")
    axes.margins(0.12)
    figure.legend(loc="outside upper center", ncols=2)
    figure.canvas.draw()  # constrained layout moves the axes, and names are placed in pixels
    beside = points[["true", "iou", "printed", "iou"]].to_numpy()
    ends = {"low": run[["iou", "low"]].min(axis=1), "high": run[["iou", "high"]].max(axis=1)}
    above = run.assign(**ends)[["true", "low", "true", "high"]].to_numpy()
    name_points(axes, points[["true", "iou"]], areas, [*beside, *above])
    return axes


def roofline(stages: pd.DataFrame, limits: pd.Series, precision: str):
    """Achieved arithmetic of labelled stages (see ``roofline.bounds``, with a column ``network``) under the roofs of cache and memory.

    The points of the first network are named; those of the others stand beside them.

    Returns:
        matplotlib's Axes.
    """
    _, axes = plt.subplots(figsize=(7, 5))
    intensity = np.geomspace(stages["intensity"].min() / 2, 2 * limits[precision] / limits["memory"], 100)
    for name, line in (("cache", "-"), ("memory", "--")):
        axes.plot(intensity, np.minimum(limits[precision], limits[name] * intensity), line, color="black", label=f"allowed by {name}")
    sns.scatterplot(stages, x="intensity", y="gmacs", hue="network", style="network", s=60, ax=axes)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="MACs a byte moved", ylabel=f"GMAC/s, {precision}")
    axes.legend(fontsize=8)
    name_points(axes, stages[stages["network"] == stages["network"].iloc[0]][["intensity", "gmacs"]])
    return axes


def name_points(axes: Axes, points: pd.DataFrame, areas: pd.Series | float = 30, lines: Sequence[np.ndarray] = ()) -> None:
    """The name (index) of each point (x, y), in the frame, as near to it as touches no point, no line and no name before it; a thin line leads to one further away.

    Args:
        areas: of the points' markers, as ``scatter`` takes them, in square points.
        lines: the ends (x, y, x, y) of level and of upright lines, from left to right or from below.
    """
    radii = np.broadcast_to(np.sqrt(areas) / 2, len(points))
    sides = 0.85 * axes.figure.dpi / 72 * radii  # of a square as large as the marker, halved, in pixels
    taken = [Bbox.from_bounds(x - r, y - r, 2 * r, 2 * r) for (x, y), r in zip(axes.transData.transform(points), sides)]
    taken += [Bbox(axes.transData.transform(ends.reshape(2, 2))).padded(1) for ends in lines]
    around = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
    for i in np.argsort(points.iloc[:, 1], kind="stable"):
        text = axes.annotate(points.index[i], points.iloc[i], (0, 0), textcoords="offset points", fontsize=8)
        for far, (x, y) in product((2, 5, *range(9, 70, 4)), around):
            reach = far + radii[i] * (0.7 if x and y else 1)
            text.set(position=(reach * x, reach * y), ha=("center", "left", "right")[x], va=("center", "bottom", "top")[y])
            extent = text.get_window_extent().padded(2)
            if axes.bbox.x0 < extent.x0 and extent.x1 < axes.bbox.x1 and not any(extent.overlaps(other) for other in taken):
                break
        taken.append(extent)
        if far > 2:
            line = {"arrowstyle": "-", "color": "0.5", "linewidth": 0.7, "shrinkA": 0, "shrinkB": radii[i]}
            axes.annotate("", points.iloc[i], text.get_position(), textcoords="offset points", arrowprops=line)


def distances(tables: dict[str, pd.DataFrame]) -> Figure:
    """Points of IoU from a reference, a panel each: a ring as printed, a dot with its interval as run here.

    Args:
        tables: by the reference's name, see ``standings.distances``; of the same networks.
    """
    size = (3 + 2.6 * len(tables), 1.4 + 0.28 * max(map(len, tables.values())))
    figure, panels = plt.subplots(1, len(tables), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axes, (reference, table) in zip(panels[0], tables.items()):
        rows = table.reset_index()
        axes.axvline(0, color="0.3", linewidth=1)
        spread = [rows["ours"] - rows["low"], rows["high"] - rows["ours"]]
        axes.errorbar(rows["ours"], rows.index, xerr=spread, fmt="o", capsize=3, label="here, 95 % interval")
        axes.plot(rows["printed"], rows.index, "o", markerfacecolor="none", color="C3", markersize=9, label="printed")
        axes.set(xlabel=f"points of IoU minus {reference}", yticks=rows.index, yticklabels=rows["network"], ylim=(len(rows) - 0.5, -0.5))
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def ways(estimates: pd.DataFrame, order: list[str]) -> Figure:
    """IoU with its interval by the way a network was trained, a panel a data set; dashed is what the paper prints.

    Args:
        estimates: columns dataset, way, iou, low, high, printed; IoU in percent.
        order: of the ways, from top to bottom.
    """
    datasets = list(estimates["dataset"].unique())
    size = (3.2 + 2.2 * len(datasets), 0.45 * len(order) + 1.1)
    figure, panels = plt.subplots(1, len(datasets), figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained")
    for axes, dataset in zip(panels[0], datasets):
        rows = estimates[estimates["dataset"] == dataset].set_index("way").reindex(order).reset_index()
        printed = rows["printed"].max()
        axes.errorbar(rows["iou"], rows.index, xerr=[rows["iou"] - rows["low"], rows["high"] - rows["iou"]], fmt="o", capsize=3)
        axes.axvline(printed, color="0.3", linestyle="--")
        for height, iou in rows["iou"].items():
            place, offset, text = (printed, (5, 5), "not run") if np.isnan(iou) else (iou, (0, 6), f"{iou:.1f}")
            axes.annotate(
                text, (place, height), offset, textcoords="offset points", ha="left" if offset[0] else "center", fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0},
            )
        axes.set(xlabel="IoU (%)", yticks=rows.index, yticklabels=order, ylim=(len(order) - 0.4, -0.7))
        axes.set_title(f"{dataset}\ndashed: printed, {printed:.2f} %", fontsize=10)
    return figure
