"""Latency of one image on this machine's CPU (Sec. IV.D, Fig. 7)."""

import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from anet_core.records import RESULTS

FOLDER = RESULTS / "timing"
BURST = 10  # calls in a row of one network
RESAMPLES = 2000  # of the turns


def latencies(functions: dict[str, Callable[[], object]], iterations: int, warmup: int = 10, burst: int = 1) -> pd.DataFrame:
    """Milliseconds of each call, the functions taking turns so that a drift of the machine falls on all alike.

    Args:
        iterations: timed calls of each function, a multiple of ``burst``.
        warmup: untimed calls of each before the first.
        burst: calls in a row before the next function has its turn. Above 1, an untimed one leads each turn: it brings back into
            the caches what the others drove out, as in a program that runs one network.

    Returns:
        DataFrame of (iterations, functions), a column each by name, indexed by the turn.
    """
    if iterations % burst:
        raise ValueError(f"{iterations} iterations are not a whole number of turns of {burst}; give a multiple of {burst}.")
    for function in functions.values():
        for _ in range(warmup):
            function()
    turns = []
    for turn in range(iterations // burst):
        milliseconds = {}
        for name, function in functions.items():
            if burst > 1:
                function()
            milliseconds[name] = [timed(function) for _ in range(burst)]
        turns.append(pd.DataFrame(milliseconds, index=[turn] * burst))
    return pd.concat(turns)


def timed(function: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - started)


def summary(milliseconds: pd.DataFrame) -> pd.DataFrame:
    """Median, 5th and 95th percentile in milliseconds, and images a second at the median, a row a function."""
    quantiles = milliseconds.quantile([0.5, 0.05, 0.95]).T
    quantiles.columns = ["median_ms", "p5_ms", "p95_ms"]
    return quantiles.assign(fps=1000 / quantiles["median_ms"])


def ratios(milliseconds: pd.DataFrame, reference: str) -> pd.DataFrame:
    """How many times faster than a reference each function is: the median over turns of the ratio of medians within a turn.

    Paired within a turn, because what slows the machine from one turn to the next falls on all alike.

    Args:
        milliseconds: what ``latencies`` returns.

    Returns:
        columns ratio, low and high, the 95 % interval over resampled turns; a row a function.
    """
    medians = milliseconds.groupby(level=0).median()
    faster = (medians[[reference]].to_numpy() / medians).to_numpy()  # (turns, functions)
    drawn = np.random.default_rng(0).integers(len(faster), size=(RESAMPLES, len(faster)))
    low, high = np.percentile(np.median(faster[drawn], axis=1), (2.5, 97.5), axis=0)
    return pd.DataFrame({"ratio": np.median(faster, axis=0), "low": low, "high": high}, index=milliseconds.columns)


def front(points: pd.DataFrame) -> list[bool]:
    """For each row whether it is on the Pareto front, no other being both faster and at least as good: columns median_ms and iou."""
    return [not ((points["median_ms"] < one.median_ms) & (points["iou"] >= one.iou)).any() for one in points.itertuples()]


def cores() -> int:
    """How many of the processor's cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def cpu_name() -> str:
    """The processor's name as OpenVINO reports it."""
    import openvino as ov

    return ov.Core().get_property("CPU", "FULL_DEVICE_NAME") or platform.machine()


def machine() -> str:
    """A name of this machine for files: its processor, its units for matrices if it has them, and number of cores.

    A rented machine may say no more than "Xeon", of which some multiply bf16 and int8 so and some do not, or "EPYC", of which the newest
    multiply twice as much at once as those before.
    """
    matrices = " with AMX" if torch.cpu.get_capabilities().get("amx_tile") else ""
    return re.sub(r"[^a-z0-9]+", "-", f"{cpu_name()}{generation()}{matrices} {cores()} cores".lower()).strip("-")


def generation() -> str:
    """Which AMD Zen a processor is, where Linux tells; of others ""."""
    try:
        told = dict(re.findall(r"^(vendor_id|cpu family|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    except OSError:
        return ""
    if told.get("vendor_id") != "AuthenticAMD":
        return ""
    zen = {"25": 4 if "avx512f" in told["flags"] else 3, "26": 5}  # families
    return f" Zen {zen[told['cpu family']]}" if told["cpu family"] in zen else ""


def machines() -> list[str]:
    """Those that ``workflow/fig7.py`` recorded times on.

    Raises:
        FileNotFoundError: there are none.
    """
    names = sorted(path.stem for path in FOLDER.glob("*.csv"))
    if not names:
        raise FileNotFoundError(f'no times of any machine lie in {FOLDER}; make them with "python workflow/fig7.py".')
    return names


def recorded(machine: str) -> pd.DataFrame:
    """The times that ``workflow/fig7.py`` recorded on a machine.

    Raises:
        FileNotFoundError: it did not.
    """
    path = FOLDER / f"{machine}.csv"
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; make it on that machine with "python workflow/fig7.py".')
    return pd.read_csv(path)
