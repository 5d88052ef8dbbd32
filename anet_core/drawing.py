"""Networks drawn from their own modules (Fig. 2-4): each picture is a traced forward pass, so it changes with the code."""

from math import ceil
from operator import add

import matplotlib.pyplot as plt
import networkx as nx
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from anet_core.blocks import KINDS, CatBlock
from anet_core.dataflow import CONVOLUTIONS, blocks, fold, stages
from anet_core.resolution import level

WORDS = {add: "add", torch.cat: "concatenate", nn.BatchNorm2d: "BN", nn.PReLU: "PReLU", nn.Dropout2d: "dropout"}
FOLLOWERS = (nn.BatchNorm2d, nn.PReLU, nn.Dropout2d)  # drawn in the box of what they follow
COLOURS = dict(zip(KINDS, sns.color_palette("colorblind").as_hex()))
INK, GREY = "0.1", "0.4"
JUMP = sns.blend_palette([COLOURS[CatBlock], "black"], 4).as_hex()[1]


def describe(op: object) -> str:
    """A block's name, or an operation with its kernel, its change of resolution and, after two spaces, its channels."""
    if isinstance(op, KINDS):
        return type(op).__name__.removesuffix("Block")
    if isinstance(op, CONVOLUTIONS):
        kernel, up = "×".join(map(str, op.kernel_size)), isinstance(op, nn.ConvTranspose2d)
        kind = " deconv" if up else " depthwise" if op.groups == op.in_channels > 1 else ""
        stride = f" {'↑' if up else '↓'}{op.stride[0]}" if op.stride[0] > 1 else ""
        channels = f"{op.in_channels}→" * (op.in_channels != op.out_channels) + str(op.out_channels)
        return f"{kernel}{kind}{stride}  {channels}{', bias' if op.bias is not None else ''}"
    if isinstance(op, nn.MaxPool2d):
        return f"max-pool ↓{op.stride}"
    if isinstance(op, nn.Upsample):
        return f"{op.mode} ↑{op.scale_factor:g}"
    return WORDS.get(op) or WORDS.get(type(op)) or str(getattr(op, "__name__", op))


def times(shape: tuple[int, ...]) -> str:
    """(64, 56, 56) as 64×56×56."""
    return "×".join(map(str, shape))


# --- Axes whose unit is an inch; text is of 8 points or more. ------------------------------------


def canvas(axes: Axes) -> Axes:
    """Axes without ticks whose unit is an inch."""
    width, height = axes.get_position().size * axes.figure.get_size_inches()
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return axes


def write(axes: Axes, x: float, y: float, text: str, **style) -> None:
    """Text centred at (x, y)."""
    axes.text(x, y, text, **{"ha": "center", "va": "center", "color": INK, "fontsize": 9} | style)


def box(axes: Axes, x: float, y: float, width: float, height: float, text="", colour="white", zorder: int = 2) -> None:
    """A rounded box around (x, y) with text in it, on a tint of its colour."""
    tint, edge = sns.blend_palette(["white", colour], 4)[1], GREY if colour == "white" else colour
    axes.add_patch(FancyBboxPatch(
        (x - width / 2, y - height / 2), width, height, "round,pad=0,rounding_size=0.05", fc=tint, ec=edge, zorder=zorder))
    write(axes, x, y, text, fontsize=8, linespacing=1.25)


def arrow(axes: Axes, *points: tuple[float, float], colour=GREY, width: float = 1.2) -> None:
    """A line through points, under the boxes, with a head at the last."""
    axes.plot(*zip(*points[:-1]), color=colour, lw=width, zorder=1)
    style = {"arrowstyle": "-|>", "color": colour, "lw": width, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", points[-1], points[-2], arrowprops=style, zorder=1)


# --- The pictures. -------------------------------------------------------------------------------


def network(model: nn.Module, size: int = 224) -> Axes:
    """The whole network as the letter it is named after (Fig. 3): a frame a stage, a tile a block, the image at the foot."""
    graph = blocks(model, (3, size, size))
    kind, shape, order = {b: type(op) for b, op in graph.nodes(data="op")}, dict(graph.nodes(data="shape")), list(graph)
    label = {b: describe(op).split("  ")[0] for b, op in graph.nodes(data="op")}
    rows = stages(graph)
    levels = [level(shape[stage[-1]][1], size) for stage in rows]
    top = levels.index(max(levels))
    axes = canvas(plt.figure(figsize=(7.5, 0.95 * (levels[top] + 1))).add_axes((0, 0, 1, 1)))
    frame, place, named = {}, {}, {}
    for i, stage in enumerate(rows):
        side = (i > top) - (i < top)
        x, y = 3.75 + side * (1.25 + 0.3 * (levels[top] - levels[i])), 0.95 * levels[i] + 0.47
        widths = [0.14 + 0.065 * len(label[block]) for block in stage]
        width = max(sum(widths) + 0.08 * (len(stage) + 1), 1.3)
        box(axes, x, y, width, 0.66, colour="0.9", zorder=0)
        write(axes, x, y + 0.18, f"S{levels[i]}   " * (levels[i] > 0) + times(shape[stage[-1]]))
        left = x - (sum(widths) + 0.08 * (len(stage) - 1)) / 2
        for block, wide in zip(stage, widths):
            frame[block], place[block] = (i, x, y), (left + wide / 2, y - 0.13)
            box(axes, *place[block], wide, 0.26, label[block], COLOURS.get(kind[block], "white"))
            left += wide + 0.08
        parts = {block.split(".")[0] for block in stage}
        if len(parts) == 1 < len(stage):  # the finest stage that lies in one part of the network bears the part's name
            named.setdefault(parts.pop(), []).append((levels[i], x - side * (width / 2 + 0.08), y, side))
    for part, spots in named.items():
        _, x, y, side = min(spots)
        write(axes, x, y, part.replace("_", "\n"), ha="left" if side < 0 else "right", color=GREY, style="italic")
    for a, b in graph.edges:
        (i, *start), (j, *end) = frame[a], frame[b]
        if j == i + 1:
            rise = 0.33 * ((levels[j] > levels[i]) - (levels[j] < levels[i]))
            arrow(axes, (start[0], start[1] + rise), (end[0], end[1] - rise))
        elif order.index(b) == order.index(a) + 1:
            axes.plot(*zip(place[a], place[b]), color=GREY, lw=1.2, zorder=1)
        else:
            (x, y), (to, foot) = place[a], place[b]
            low = min(y, foot) - 0.36
            arrow(axes, (x, y - 0.13), (x, low), (to, low), (to, foot - 0.13), colour=JUMP, width=2.5)
            write(axes, (x + to) / 2, low + 0.06, f"jump   {times(shape[a])}", va="bottom")
    said = (f"{times(shape[stage[-1]])} by {', '.join(label[block] for block in stage)}" for stage in rows)
    axes.figure.set_label(f"The stages in order: {'; '.join(said)}")
    return axes


def block(module: nn.Module, *shapes: tuple[int, int, int], axes: Axes) -> Axes:
    """The operations of one block from top to bottom, its longest path on the left (Fig. 3 and 4)."""
    graph, into = blocks(module, *shapes), {}
    for node, op in graph.nodes(data="op"):
        follows = isinstance(op, FOLLOWERS) and graph.in_degree(node) == 1
        into[node] = into[next(graph.predecessors(node))] if follows else node
    graph = fold(graph, into)
    rank = {node: i for i, nodes in enumerate(nx.topological_generations(graph)) for node in nodes}
    main, top = nx.dag_longest_path(graph), axes.get_ylim()[1] - 0.5
    place = {node: (0.76 if node in main else 1.98, top - 0.56 * rank[node]) for node in graph}
    write(axes, 0.07, top + 0.37, describe(module), ha="left", fontsize=10, weight="bold")
    for node, data in graph.nodes(data=True):
        first, *more = map(describe, data["ops"])
        if not graph.in_degree(node):
            more = [times(data["shape"])]
            colour = "0.9"
        elif data["ops"][0] is add or getattr(data["ops"][0], "kernel_size", None) == (1, 1):
            colour = "white"
        else:  # what looks further than a pixel, changes the resolution or joins two tensors
            colour = COLOURS[type(data["ops"][0] if isinstance(data["ops"][0], KINDS) else module)]
        box(axes, *place[node], 1.38 if node in main else 0.96, 0.36, "\n".join([first, ", ".join(more)]).strip(), colour)
    for a, b in graph.edges:
        (x, y), (to, end) = place[a], place[b]
        if x == to and rank[b] == rank[a] + 1:
            arrow(axes, (x, y), (to, end + 0.18))
        else:  # through the right-hand column
            arrow(axes, (x, y), (1.98, y), *([(1.98, end), (to + 0.69, end)] if b in main else [(1.98, end + 0.18)]))
    x, y = place[main[-1]]
    arrow(axes, (x, y), (x, y - 0.36))
    write(axes, x, y - 0.44, times(graph.nodes[main[-1]]["shape"]), fontsize=8)
    return axes


def kinds(model: nn.Module, size: int = 224) -> Figure:
    """One block of each kind in a network, the first that returns 64 channels, or else the first."""
    graph = blocks(model, (3, size, size))
    found = {}
    for name, data in graph.nodes(data=True):
        kind = type(data["op"])
        if kind in KINDS and (kind not in found or (data["shape"][0] == 64 != graph.nodes[found[kind]]["shape"][0])):
            found[kind] = name
    rows = ceil(len(found) / 3)
    figure = plt.figure(figsize=(7.5, 3.85 * rows))
    figure.set_label("The operations of one block of each kind, top to bottom")
    for i, kind in enumerate(kind for kind in KINDS if kind in found):
        axes = canvas(figure.add_axes((i % 3 / 3, 1 - (i // 3 + 1) / rows, 1 / 3, 1 / rows)))
        block(graph.nodes[found[kind]]["op"], *(graph.nodes[p]["shape"] for p in graph.predecessors(found[kind])), axes=axes)
    return figure

