"""What a forward pass does, as a graph: operations, the tensors between them, and the blocks and stages they form."""

from copy import deepcopy

import networkx as nx
import pandas as pd
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata

from anet_core.blocks import KINDS
from anet_core.complexity import layer_table
from anet_core.network import require_image_batch

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def operations(model: nn.Module, *shapes: tuple[int, int, int]) -> nx.DiGraph:
    """The operations of one forward pass in evaluation mode, in order, and the tensors that go from one to another.

    Args:
        shapes: (C, H, W) of each input.

    Returns:
        A node for each operation and input with ``name``, the module that it is or stands in; ``op``, the module or
        function, or an input's name; ``shape``, (C, H, W) of what it returns. Sizes read off a tensor are no flow.

    Raises:
        torch.fx.proxy.TraceError: where the forward pass loops over a tensor's size, as TopFormer's does.
    """
    model = deepcopy(model).eval().to("meta")
    modules = dict(model.named_modules())
    # The check of the input's size needs a real size, so it is recorded as a call and not traced.
    traced = fx.GraphModule(model, fx.Tracer(autowrap_functions=(require_image_batch,)).trace(model))
    ShapeProp(traced).propagate(*(torch.empty(1, *shape, device="meta") for shape in shapes))
    graph = nx.DiGraph()
    for node in traced.graph.nodes:
        if node.op != "output" and isinstance(node.meta.get("tensor_meta"), TensorMetadata):
            name = next(reversed(node.meta.get("nn_module_stack", {})), node.name)
            shape = tuple(node.meta["tensor_meta"].shape[1:])
            graph.add_node(node.name, name=name, op=modules.get(node.target, node.target), shape=shape)
            graph.add_edges_from((source.name, node.name) for source in node.all_input_nodes if source.name in graph)
    return graph


def fold(graph: nx.DiGraph, into: dict[str, str]) -> nx.DiGraph:
    """The graph of groups: ``into`` names each node's group, whose ``ops`` are its nodes' and whose ``shape`` is the last's."""
    folded = nx.DiGraph()
    for node, data in graph.nodes(data=True):
        ops = folded.nodes[into[node]]["ops"] if into[node] in folded else []
        folded.add_node(into[node], ops=[*ops, data["op"]], shape=data["shape"])
    folded.add_edges_from((into[a], into[b]) for a, b in graph.edges if into[a] != into[b])
    return folded


def block_around(name: str, modules: dict[str, nn.Module]) -> str:
    """The name of the innermost block of A-Net that a module stands in or is, or its own where it stands in none."""
    parts = name.split(".")
    around = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((path for path in around if isinstance(modules.get(path), KINDS)), name)


def blocks(model: nn.Module, *shapes: tuple[int, int, int]) -> nx.DiGraph:
    """The blocks of A-Net, or those inside one of them, by module name; ``op`` is the block, or what stands in none."""
    graph, modules = operations(model, *shapes), dict(model.named_modules())
    folded = fold(graph, {node: block_around(name, modules) for node, name in graph.nodes(data="name")})
    for name, data in folded.nodes(data=True):
        data["op"] = modules[name] if isinstance(modules.get(name), KINDS) else data["ops"][0]
    return folded


def stages(graph: nx.DiGraph) -> list[list[str]]:
    """Blocks in a row at one resolution: each joins the stage of the block that last fed it, or opens the next."""
    order, found = list(graph), []
    for block in order:
        before = max(graph.predecessors(block), key=order.index, default=None)
        if before and graph.nodes[before]["shape"][1:] == graph.nodes[block]["shape"][1:]:
            next(stage for stage in found if before in stage).append(block)
        else:
            found.append([block])
    return found


def stage_table(model: nn.Module, size: int) -> pd.DataFrame:
    """One row a stage, in the order of execution: its blocks, the shape it returns, its parameters and its true MACs."""
    graph, modules = blocks(model, (3, size, size)), dict(model.named_modules())
    layers = layer_table(model, size)
    work = layers.groupby(layers["name"].map(lambda name: block_around(name, modules)))[["parameters", "true_macs"]].sum()
    return pd.DataFrame([
        {
            "blocks": stage, "output": graph.nodes[stage[-1]]["shape"],
            **work.reindex(stage).sum().astype(int),  # an input has no row: nothing to add
        }
        for stage in stages(graph)
    ])
