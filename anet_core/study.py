"""The protocol study: learning rate x loss reduction x iterations for A-Net, on one set that is split at random.

    python -m anet_core.study --rate 0.001 --reduction batch
    python -m anet_core.study --minutes 30

All else is as printed. The printed rate is constant, so a run's first n iterations are the run of n iterations: one
training to the last number of iterations is tested on the way at each. Each test is a record in results/study/runs.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from anet_core.loss import REDUCTIONS
from anet_core.protocol import PRINTED, Protocol
from anet_core.records import RESULTS, run_name
from anet_core.run import claim, run
from anet_core.statistics import bootstrap_iou_pooled
from anet_core.training import TimeUp
from data_prep import locate
from data_prep.command_line import exit_code

DATASET = "neu-inclusion-random"
RATES = (PRINTED.learning_rate, 0.001, 0.003, 0.01)
ITERATIONS = (250, 500, 1000, 1500, PRINTED.iterations)


def setting(rate: float, reduction: str, iterations: int) -> Protocol:
    """The printed protocol but for these three; its name states them."""
    name = f"rate{rate:g}-{reduction}-{iterations}"
    return replace(PRINTED, name=name, learning_rate=rate, loss_reduction=reduction, iterations=iterations)


def train_and_test(
    rate: float, reduction: str, dataset: str, iterations: Sequence[int], results: Path, deadline: float | None
) -> None:
    """Train A-Net to the last of the iterations, ascending, testing and recording it at each; what is recorded is not run again.

    Raises:
        TimeUp: the deadline, a moment of ``time.monotonic``, has come; the next call goes on from the checkpoint.
        ValueError: damaged data, or a record made from other data.
    """
    folder = locate(dataset)
    name = run_name("A-Net", folder.name, f"rate{rate:g}-{reduction}")
    checkpoint = results / "checkpoints" / f"{name}.pt"
    with claim(name, results) as free:
        if not free:
            print(f"{name} is trained by another process")
            return
        for n in iterations:
            protocol = setting(rate, reduction, n)
            record = run("A-Net", folder, protocol, results=results, deadline=deadline, checkpoint=checkpoint)
            print(f"{record['protocol']}: IoU {record['iou_pooled']:.2f} %", flush=True)
        checkpoint.unlink(missing_ok=True)


def table(runs: list[dict]) -> "pd.DataFrame":
    """IoU in percent with its 95 % interval over the groups of test pictures at each setting; missing where it was not run.

    Args:
        runs: records on one data set, at constant learning rates.

    Returns:
        columns IoU, low and high; indexed by reduction, rate and iterations.
    """
    import pandas as pd

    found = {
        (run["loss_reduction"], run["learning_rate"], run["iterations"]): (run["iou_pooled"], *bootstrap_iou_pooled(run)) for run in runs
    }
    settings = pd.MultiIndex.from_product([REDUCTIONS, RATES, ITERATIONS], names=["reduction", "rate", "iterations"])
    return pd.DataFrame.from_dict(found, "index", columns=["IoU", "low", "high"]).reindex(settings)


def told(curve: "pd.DataFrame", value: float, number: str) -> str:
    """In words, where a curve of IoU reaches a value, with the range that the ends of its intervals give.

    Args:
        curve: IoU, low and high; indexed by iterations or by learning rate.
        number: how the index is written, a format specification.
    """
    curve = curve.dropna().sort_index()
    at, early, late = (reached(curve[column], value) for column in ("IoU", "high", "low"))
    first, last = (f"{end:{number}}" for end in (curve.index[0], curve.index[-1]))
    if early is None:
        return f"not reached by {last}, nor by the upper end of the interval"

    def place(where: float) -> str:
        return f"{first} or less" if where == curve.index[0] else f"{where:{number}}"

    if at is None:
        return f"not reached by {last}, highest {curve['IoU'].max():.2f} % at {curve['IoU'].idxmax():{number}} (the upper end of the interval reaches it at {place(early)})"
    return f"{place(at)} (interval from {place(early)}" + (f" to {place(late)})" if late is not None else f"; its lower end does not reach it by {last})")


def reached(iou: "pd.Series", value: float) -> float | None:
    """Where on its index a curve of IoU first reaches a value, by interpolation in the index's logarithm.

    None where it does not; the first of the index where it does so there, as it may have before.
    """
    iou = iou.dropna().sort_index()
    above = np.flatnonzero(iou >= value)
    if not above.size:
        return None
    if above[0] == 0:
        return float(iou.index[0])
    around = iou.iloc[above[0] - 1 : above[0] + 1]
    return float(np.exp(np.interp(value, around, np.log(around.index))))


@exit_code
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m anet_core.study", description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, nargs="+", default=RATES, help="learning rates; all of the study if not given")
    parser.add_argument("--reduction", nargs="+", default=REDUCTIONS, choices=REDUCTIONS, help="of the loss; both if not given")
    parser.add_argument("--iterations", type=int, nargs="+", default=ITERATIONS, help="where it is tested")
    parser.add_argument("--dataset", default=DATASET, help="a known name or a folder")
    parser.add_argument("--minutes", type=float, help="stop cleanly after this time")
    parser.add_argument("--results", type=Path, default=RESULTS / "study")
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * options.minutes if options.minutes is not None else None
    try:
        for reduction, rate in product(options.reduction, options.rate):
            train_and_test(rate, reduction, options.dataset, sorted(options.iterations), options.results, deadline)
    except TimeUp:
        print("\nout of time; the checkpoint is written")


if __name__ == "__main__":
    sys.exit(main())
