"""Latency of one image on this machine's CPU (Sec. IV.D, Fig. 7)."""

import platform
import time
from collections.abc import Callable

import numpy as np
import pandas as pd


def latencies(functions: dict[str, Callable[[], object]], iterations: int, warmup: int = 10) -> pd.DataFrame:
    """Milliseconds of each call, the functions taking turns so that a drift of the machine falls on all alike.

    Returns:
        DataFrame of (iterations, functions), a column each by name.
    """
    milliseconds = {name: np.empty(iterations) for name in functions}
    for i in range(-warmup, iterations):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            elapsed = time.perf_counter() - started
            if i >= 0:
                milliseconds[name][i] = 1000 * elapsed
    return pd.DataFrame(milliseconds)


def summary(milliseconds: pd.DataFrame) -> pd.DataFrame:
    """Median, 5th and 95th percentile in milliseconds, and images a second at the median, a row a function."""
    quantiles = milliseconds.quantile([0.5, 0.05, 0.95]).T
    quantiles.columns = ["median_ms", "p5_ms", "p95_ms"]
    return quantiles.assign(fps=1000 / quantiles["median_ms"])


def cpu_name() -> str:
    """The processor's name as OpenVINO reports it."""
    import openvino as ov

    return ov.Core().get_property("CPU", "FULL_DEVICE_NAME") or platform.machine()
