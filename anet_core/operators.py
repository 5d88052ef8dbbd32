"""What OpenVINO executes for a network, operator by operator: its time, its arithmetic and what it moves."""

import re
from collections.abc import Hashable
from datetime import timedelta
from math import prod

import numpy as np
import openvino as ov
import pandas as pd

from anet_core.deployment import compile_for_cpu, place, request
from anet_core.rewrites import LANES
from anet_core.timing import BURST

CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData")
# The modules of A-Net at one resolution in a row, in the order of execution: "up" is the right leg of Fig. 3.
STAGES = {
    "S1": r"detail_extraction\.[0-2]", "S2": r"detail_extraction\.[3-5]", "S3": r"semantic_extraction\.[0-2]",
    "S4": r"semantic_extraction\.[3-7]", "S5": r"semantic_extraction\.([89]|1[0-2])", "S4 up": r"semantic_fusion\.[0-2]",
    "S3 up": r"semantic_fusion\.[3-5]", "S2 up": r"semantic_fusion\.6|detail_fusion\.0", "cat": r"cat",
    "S1 up": r"detail_fusion\.[1-3]", "head": r"head",
}


def stage(module: str) -> str:
    """The stage of A-Net, a key of STAGES, that a module stands in.

    Raises:
        ValueError: A-Net has no such module.
    """
    for name, pattern in STAGES.items():
        if re.match(rf"({pattern})(\.|$)", module):
            return name
    raise ValueError(f"{module!r} is no module of A-Net.")


def profile(exported: dict[str, ov.Model], precisions: list[str], threads: int, image: np.ndarray, repetitions: int) -> pd.DataFrame:
    """One row for each operator that is executed, in order, of each network in each precision.

    Args:
        exported: exports of A-Net or of its rewritten form, by a name.
        image: what the models take, float32 (1, 3, H, W) or uint8 (1, H, W, 3).

    Returns:
        network and precision; operator, kind and kernel as OpenVINO names them; ``module``, where in the network it came from, of a
        change of layout or precision what it changes it for; ``stage``; ``microseconds``, the median; ``macs``; ``lane_macs``, the same
        where the processor multiplies whole vectors, the last of them partly filled; ``bytes``, of all that it reads and writes.
    """
    compiled = {
        (name, precision): compile_for_cpu(model, precision, threads, PERF_COUNT=True)
        for name, model in exported.items() for precision in precisions
    }
    microseconds = times(compiled, image, repetitions)
    return pd.concat([
        executed(exported[name], model, microseconds[name, precision].median()).assign(network=name, precision=precision)
        for (name, precision), model in compiled.items()
    ])


def times(compiled: dict[Hashable, ov.CompiledModel], image: np.ndarray, repetitions: int) -> dict[Hashable, pd.DataFrame]:
    """Microseconds of each operator in each of the repetitions, of models compiled with PERF_COUNT, which take turns of BURST.

    OpenVINO counts whole microseconds, and calls what takes less than one not run: that is 0 here.
    """
    requests, rows = {name: request(model, image) for name, model in compiled.items()}, {name: [] for name in compiled}
    for begin in range(0, repetitions, BURST):
        for name, one in requests.items():
            one.infer()  # brings back into the caches what the others drove out
            for _ in range(min(BURST, repetitions - begin)):
                one.infer()
                rows[name].append({operator.node_name: operator.real_time / timedelta(microseconds=1) for operator in one.get_profiling_info()})
    return {name: pd.DataFrame(of_one) for name, of_one in rows.items()}


def executed(model: ov.Model, compiled: ov.CompiledModel, microseconds: pd.Series) -> pd.DataFrame:
    """The rows of ``profile`` of one model, whose operators took so long."""
    ours = {operator.get_friendly_name(): operator for operator in compiled.get_runtime_model().get_ops()}
    exported = {operator.get_friendly_name(): operator for operator in model.get_ops()}
    rows = pd.DataFrame([{
        "operator": name, "kind": info(ours[name], "layerType"), "kernel": info(ours[name], "primitiveType"),
        "module": module(ours[name], exported), "microseconds": value, "macs": sum(map(macs, origins(ours[name], exported))),
        "lane_macs": sum(map(lane_macs, origins(ours[name], exported))), "bytes": traffic(ours[name]),
    } for name, value in microseconds.items() if name in ours])
    rows = rows[(rows["microseconds"] > 0) | (rows["macs"] > 0)].reset_index(drop=True)
    rows["module"] = rows["module"].replace("", None).ffill()  # what brings the result into its layout belongs to the last module
    return rows.assign(stage=rows["module"].map(stage))


def info(operator: ov.Node, key: str) -> str:
    """What OpenVINO notes on an operator that it executes."""
    return operator.get_rt_info()[key].astype(str)


def origins(operator: ov.Node, exported: dict[str, ov.Node]) -> list[ov.Node]:
    """The operators of the export that one that is executed computes; none where OpenVINO put it in by itself."""
    return [exported[name] for name in info(operator, "originalLayersNames").split(",") if name in exported]


def module(operator: ov.Node, exported: dict[str, ov.Node]) -> str:
    """The module that an executed operator came from, or that what reads its result did; "" where nothing does."""
    if found := origins(operator, exported):
        return place(found[0])
    readers = [reader.get_node() for output in operator.outputs() for reader in output.get_target_inputs()]
    return module(readers[0], exported) if readers else ""


def macs(operator: ov.Node) -> int:
    """Multiply-accumulates of a convolution of an export, 0 of anything else."""
    if operator.get_type_name() not in CONVOLUTIONS:
        return 0
    # A transposed convolution meets each weight once for every pixel of its input.
    transposed = operator.get_type_name() == "ConvolutionBackpropData"
    pictures, _, *pixels = (operator.input(0) if transposed else operator.output(0)).get_shape()
    *channels, rows, columns = operator.input(1).get_shape()
    if operator.get_input_shape(0)[2] == 1 and not transposed:  # one row meets one row of the kernel at a time
        rows = 1
    return prod((*channels, rows, columns, pictures, *pixels))


def lane_macs(operator: ov.Node) -> int:
    """``macs`` with the output's channels, which lie along the vectors of LANES numbers, rounded up to whole vectors."""
    if not (work := macs(operator)):
        return 0
    channels = operator.get_output_shape(0)[1]
    return work // channels * (-(-channels // LANES) * LANES)


def traffic(operator: ov.Node) -> int:
    """Bytes that an executed operator reads, its weights among them, and writes."""
    read = (port.get_source_output() for port in operator.inputs())
    return sum(map(size, (*read, *operator.outputs())))


def size(output: ov.Output) -> int:
    """Bytes of a result of an executed operator."""
    precision = info(output.get_node(), "outputPrecisions").split(",")[output.get_index()]
    return prod(output.get_shape()) * getattr(ov.Type, precision).size
