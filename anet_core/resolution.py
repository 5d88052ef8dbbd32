"""At which resolution a network works: its shape (Fig. 2) and where its multiply-accumulates go."""

from copy import deepcopy
from math import ceil, log2

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import nn

from anet_core.complexity import layer_table
from anet_core.dataflow import CONVOLUTIONS, operations
from anet_core.network import MULTIPLE

SCALES = ("1", "1/2", "1/4", "1/8", "1/16", "1/32", "pooled")  # of the input's side; pooled: smaller than 1/32


def level(height: int, size: int) -> int:
    """The place in ``SCALES`` of a map of that height in a network whose input has height ``size``."""
    return min(ceil(log2(size / height)), len(SCALES) - 1)


def mac_shares(model: nn.Module, size: int) -> pd.Series:
    """Percent of the true MACs spent at each of ``SCALES``, that of a convolution being its output's."""
    layers = layer_table(model, size)
    layers = layers[layers["true_macs"] > 0]
    scales = [SCALES[level(shape[1], size)] for shape in layers["output"]]
    return (100 * layers["true_macs"] / layers["true_macs"].sum()).groupby(scales).sum().reindex(SCALES, fill_value=0.0)


def receptive_field(model: nn.Module, width: int) -> int:
    """Pixels of a row of the input, of a picture so wide, that the output pixel in its middle depends on.

    It is where the gradient of that pixel is not 0, with positive weights, so that nothing cancels, and averages for maxima, which look
    at as many pixels but have the gradient of one.
    """
    model = deepcopy(model).double().eval()
    with torch.no_grad():
        for module in list(model.modules()):
            for name, part in module.named_children():
                if isinstance(part, nn.MaxPool2d):
                    setattr(module, name, nn.AvgPool2d(part.kernel_size, part.stride, part.padding))
            for name, parameter in module.named_parameters(recurse=False):
                parameter.fill_(1 / parameter[0].numel() if name == "weight" else 0)
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
    image = torch.ones(1, 3, 2 * MULTIPLE, width, dtype=torch.double, requires_grad=True)
    model(image)[0, 0, MULTIPLE, width // 2].backward()
    return int((image.grad > 0).any(dim=(0, 1, 2)).sum())


def depths(graph: nx.DiGraph) -> dict[str, int]:
    """For each operation, the number of convolutions on the longest chain from an input to its output."""
    found = {}
    for node, op in graph.nodes(data="op"):
        before = max((found[source] for source in graph.predecessors(node)), default=0)
        found[node] = before + isinstance(op, CONVOLUTIONS)
    return found


def profiles(models: dict[str, nn.Module], size: int) -> Figure:
    """The shape of networks, a row each (Fig. 2), beside the share of true MACs at each resolution.

    A bar is a convolution, placed by ``depths`` and as high as the root of its channels. Lines are the tensors between;
    those that are concatenated are thick.
    """
    figure, rows = plt.subplots(
        len(models), 2, figsize=(7.5, 1.95 * len(models)), width_ratios=(4, 1), sharey=True, squeeze=False, layout="constrained")
    figure.set_label("The convolutions of networks by depth, resolution and channels, and where their true MACs go")
    bar, thick = sns.color_palette("colorblind")[0], sns.color_palette("colorblind")[3]
    for (name, model), (left, right) in zip(models.items(), rows):
        graph = operations(model, (3, size, size))
        place = {node: (depth, level(graph.nodes[node]["shape"][1], size)) for node, depth in depths(graph).items()}
        joins = [graph.nodes[b]["op"] is torch.cat for _, b in graph.edges]
        left.add_collection(LineCollection(
            [(place[a], place[b]) for a, b in graph.edges],
            colors=[thick if join else "0.4" for join in joins], lw=[2 if join else 0.9 for join in joins]))
        convolutions = [node for node, op in graph.nodes(data="op") if isinstance(op, CONVOLUTIONS)]
        x, y = (np.array(values) for values in zip(*(place[node] for node in convolutions)))
        height = np.array([graph.nodes[node]["shape"][0] for node in convolutions]) ** 0.5 / 36  # 1296 channels reach the next row
        left.bar(x, height, 0.85, y - height / 2, color=bar, lw=0, zorder=2)
        left.set_title(name, fontsize=10)
        left.set(yticks=range(len(SCALES)), yticklabels=SCALES, ylim=(-0.7, len(SCALES) - 0.2), ylabel="resolution")
        shares = mac_shares(model, size)
        right.barh(range(len(SCALES)), shares, color=bar, height=0.6, lw=0)
        for y, share in enumerate(shares):
            right.text(share + 3, y, f"{share:.0f} %" if share >= 0.5 else "< 1 %" if share else "", va="center", fontsize=8)
        right.set(xlim=(0, 100), xticks=[])
        for axes in (left, right):
            axes.tick_params(labelsize=8)
            axes.yaxis.label.set_size(9)
            axes.grid(visible=False)
            sns.despine(ax=axes)
    rows[-1, 0].set_xlabel("convolutions from the input", fontsize=9)
    rows[-1, 1].set_xlabel("true MACs", fontsize=9)
    return figure
