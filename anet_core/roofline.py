"""How fast a network could be on a machine at most: the roofline of Williams, Waterman and Patterson (CACM 52(4), 2009).

A processor multiplies no faster than its peak and moves data no faster than its memory. Both are measured here, in the runtime that the
network runs in, and with them what it costs to start an operator, which counts where there are many small ones.
"""

from collections.abc import Callable

import numpy as np
import openvino as ov
import openvino.opset13 as opset
import pandas as pd
import torch

from anet_core.deployment import compile_for_cpu, native_precisions, request
from anet_core.operators import STAGES, times
from anet_core.timing import timed

SIDE = 2048  # of the matrices: large enough that moving them costs next to nothing
MEMORY = 2**28  # bytes, many times what caches hold
CACHE = 32 * 112 * 112 * 4  # bytes of A-Net's largest features but for the head's, which caches hold
CHAIN = 100  # operators
PARTS = ("arithmetic", "moving", "starting", "rest")  # of the time of a stage, see bounds


def limits(threads: int, repetitions: int, side: int = SIDE, memory: int = MEMORY) -> pd.DataFrame:
    """What a number of threads attains here.

    Returns:
        A row each for arithmetic in f32, bf16 (where the CPU has it) and int8, in GMAC/s; for copies in memory and in cache, in GB/s
        read and written; and for the start of an operator, in us: median, p5 and p95.
    """
    rates = {(name, "GMAC/s"): arithmetic(name, threads, repetitions, side) for name in (*native_precisions(), "int8")}
    rates |= {(name, "GB/s"): copying(size, threads, repetitions) for name, size in (("memory", memory), ("cache", CACHE))}
    rates["start", "us"] = starting(threads, repetitions)
    return pd.DataFrame([
        {"limit": name, "unit": unit, "threads": threads, "median": np.median(values),
         "p5": np.percentile(values, 5), "p95": np.percentile(values, 95)}
        for (name, unit), values in rates.items()
    ])


def arithmetic(precision: str, threads: int, repetitions: int, side: int) -> np.ndarray:
    """GMAC/s of a product of two square matrices in each of the repetitions, the time of the product alone."""
    floating = "f32" if precision == "int8" else precision
    compiled = compile_for_cpu(product(side, precision == "int8"), floating, threads, PERF_COUNT=True)
    microseconds = times({"product": compiled}, np.ones((side, side), np.float32), repetitions)["product"]
    return side**3 / microseconds[microseconds.sum().idxmax()].to_numpy() / 1000  # beside it there are changes of precision


def product(side: int, eight_bits: bool) -> ov.Model:
    """The product of a matrix with a constant one."""
    left = opset.parameter([side, side], np.float32)
    right = opset.constant(np.random.default_rng(0).uniform(-1, 1, (side, side)).astype(np.float32))
    factors = (left, right)
    if eight_bits:
        factors = opset.fake_quantize(left, 0.0, 2.55, 0.0, 2.55, 256), opset.fake_quantize(right, -1.27, 1.27, -1.27, 1.27, 255)
    return ov.Model([opset.matmul(*factors, False, False)], [left])


def copying(size: int, threads: int, repetitions: int) -> np.ndarray:
    """GB/s, read and written, of a copy of so many bytes in each of the repetitions."""
    source, target = torch.ones(size // 4), torch.ones(size // 4)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return 2 * size / seconds(lambda: target.copy_(source), repetitions) / 1e9
    finally:
        torch.set_num_threads(before)


def starting(threads: int, repetitions: int) -> np.ndarray:
    """Microseconds of an operator with next to nothing to do, one of those of ``chain``."""
    image = np.ones((1, 16, 8, 8), np.float32)
    return 1e6 * seconds(request(compile_for_cpu(chain(), "f32", threads), image).infer, repetitions) / CHAIN


def chain() -> ov.Model:
    """1x1 convolutions of 64 pixels in a row, which keep the size of their numbers: below 1e-38 some processors take many times as long."""
    image = x = opset.parameter([1, 16, 8, 8], np.float32)
    orthogonal, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))
    kernel = opset.constant(orthogonal[:, :, None, None].astype(np.float32))
    for _ in range(CHAIN):
        x = opset.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    return ov.Model([x], [image])


def seconds(function: Callable[[], object], repetitions: int) -> np.ndarray:
    """Of each call, after one that is not timed."""
    function()
    return np.array([timed(function) for _ in range(repetitions)]) / 1000


def bounds(operators: pd.DataFrame, limits: pd.Series, precision: str) -> pd.DataFrame:
    """How near each stage of A-Net is to its roofline, and what bounds it.

    Args:
        operators: what ``operators.profile`` returns, of one network in one precision.
        limits: medians of ``limits`` of one number of threads, by name; without ``start``, starting operators falls to the rest.

    Returns:
        One row a stage, in order: microseconds, macs, bytes and the number of operators; ``gmacs``, GMAC/s; ``intensity``, MACs a byte;
        ``lanes``, percent of the vectors' numbers that are used; ``share``, percent of the time that the roofline allows, each
        operator by itself; the least microseconds for ``arithmetic`` with vectors as full as they are, for ``moving`` data in the
        cache and for ``starting`` operators; ``rest``, what these do not explain; and the greatest of the four as ``bound``.
    """
    peak, cache = 1000 * limits[precision], 1000 * limits["cache"]  # a microsecond
    rows = operators.assign(
        operators=1, arithmetic=operators["lane_macs"] / peak, moving=operators["bytes"] / cache, starting=limits.get("start", 0.0),
    )
    rows["allowed"] = np.maximum(rows["macs"] / peak, rows["moving"])
    rows["rest"] = rows["microseconds"] - rows[["arithmetic", "moving"]].max(axis=1) - rows["starting"]
    numbers = ["microseconds", "macs", "lane_macs", "bytes", "operators", "allowed", *PARTS]
    stages = rows.groupby("stage")[numbers].sum().sort_index(key=lambda names: names.map(list(STAGES).index))
    return stages.assign(
        gmacs=stages["macs"] / stages["microseconds"] / 1000, intensity=stages["macs"] / stages["bytes"],
        lanes=100 * stages["macs"] / stages["lane_macs"], share=100 * stages["allowed"] / stages["microseconds"],
        bound=stages[list(PARTS)].idxmax(axis=1),
    ).drop(columns=["allowed", "lane_macs"])
