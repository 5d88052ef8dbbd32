"""A training step of A-Net, batch 16 at 224, beside the same step in a plain loop.

    python workflow/training_speed.py
    python workflow/training_speed.py --dataset neu-inclusion --iterations 100

Writes results/deployment/MACHINE--training.csv. Both start from the same weights, see the same batches and take turns, so
that a drift of the machine falls on both alike.
Their loss curves are equal within noise where the 95 % interval of the mean difference, paired by seed, holds 0 and is
narrow enough to have shown a difference as large as that between seeds. Of equal ways one in twenty fails this by chance.
"""

import argparse
import sys
import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor, nn

from anet_core import build, measurements
from anet_core.dataset import load
from anet_core.prediction import normalise
from anet_core.protocol import TUNED, Protocol
from anet_core.step import draw, drawn, optimizer_of, step, total_loss
from anet_core.structure import SIZE
from anet_core.timing import latencies, machine, ratios, summary
from anet_core.training import has_bf16, to_tensors
from data_prep import locate
from data_prep.command_line import exit_code

WARMUP = 2  # steps that are not timed: the first choose their kernels
SMOOTH = 5  # iterations


def plain_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, masks: Tensor, protocol: Protocol, seed: int, t: int
) -> float:
    """``step.step`` as a textbook has it: float32, the default memory format, torch's own PReLU and norms."""
    image, mask = drawn(images, masks, *draw(t, protocol.batch_size, images, seed))
    for group in optimizer.param_groups:
        group["lr"] = protocol.learning_rate_at(t)
    loss = total_loss(model, model(normalise(image)), mask, protocol.loss_reduction)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def pictures(dataset: str) -> tuple[Tensor, Tensor]:
    """The training images and masks of a data set, smaller ones mirrored at their border up to 224x224."""
    samples = load(locate(dataset), "train")
    rows, columns = ((max(0, SIZE - side) // 2,) * 2 for side in samples.masks.shape[1:])
    images = np.pad(samples.images, ((0, 0), rows, columns, (0, 0)), mode="reflect")
    masks = np.pad(samples.masks, ((0, 0), rows, columns), mode="reflect")
    return to_tensors(replace(samples, images=images, masks=masks))


def next_step(way: Callable[..., float], network: nn.Module, losses: list[float], *data) -> Callable[[], None]:
    """A function that trains a network by one step more each time, and keeps the loss."""
    optimizer = optimizer_of(network, TUNED)
    return lambda: losses.append(way(network, optimizer, *data, len(losses)))


def difference_of_curves(losses: dict[str, list[list[float]]]) -> dict[str, float]:
    """How the loss curves of the two ways differ, and how those of the seeds do.

    Returns:
        largest: between the two mean curves over the seeds, smoothed; low, high: the 95 % interval of the mean over the
        curve of ours less plain, by Student's t over the seeds; seeds: the standard deviation over the seeds of the
        plain way's smoothed curves, its root mean square over the iterations.
    """
    curves = {way: np.array(runs) for way, runs in losses.items()}  # (seeds, iterations)
    smooth = {way: np.lib.stride_tricks.sliding_window_view(runs, SMOOTH, axis=1).mean(-1) for way, runs in curves.items()}
    differences = (curves["ours"] - curves["plain"]).mean(1)
    low, high = stats.t.interval(0.95, len(differences) - 1, differences.mean(), stats.sem(differences))
    return {
        "largest": np.abs(smooth["ours"].mean(0) - smooth["plain"].mean(0)).max(), "low": low, "high": high,
        "seeds": np.sqrt(smooth["plain"].var(0, ddof=1).mean()),
    }


@exit_code
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="synthetic", help="a known name or a folder")
    parser.add_argument("--iterations", type=int, default=30, help="timed steps of each way for each seed")
    parser.add_argument("--seeds", type=int, default=5, help="at least 2")
    options = parser.parse_args()
    if options.iterations < SMOOTH or options.seeds < 2:
        parser.error(f"at least {SMOOTH} iterations and 2 seeds are needed")
    images, masks = pictures(options.dataset)
    iterations = options.iterations + WARMUP
    protocol = replace(TUNED, iterations=iterations, warmup_iterations=iterations // 4)
    bf16 = has_bf16("cpu")
    ways = {"plain": (plain_step, torch.contiguous_format), "ours": (partial(step, bf16=bf16), torch.channels_last)}
    losses, times = {way: [[] for _ in range(options.seeds)] for way in ways}, []
    for seed in range(options.seeds):
        torch.manual_seed(seed)
        network = build("A-Net").train()
        functions = {
            way: next_step(
                take, copy.deepcopy(network).to(memory_format=memory_format), losses[way][seed], images, masks, protocol, seed
            )
            for way, (take, memory_format) in ways.items()
        }
        times.append(latencies(functions, options.iterations, WARMUP))
    milliseconds = pd.concat(times, ignore_index=True)
    curves = difference_of_curves(losses)
    table = summary(milliseconds).join(ratios(milliseconds, "plain")).rename_axis("way").reset_index().assign(
        steps=len(milliseconds), threads=torch.get_num_threads(), precision=["bf16" if bf16 and way == "ours" else "f32" for way in ways],
        **{f"loss_{name}": value for name, value in curves.items()},
        equal=-curves["seeds"] < curves["low"] < 0 < curves["high"] < curves["seeds"], torch=torch.__version__,
    ).drop(columns="fps")
    path = measurements.path("training", machine())
    path.parent.mkdir(parents=True, exist_ok=True)
    table.round(6).to_csv(path, index=False)
    print(f"{path}: batch {protocol.batch_size} of {images.shape[3]}x{images.shape[2]}\n{table.T.to_string(header=False)}")


if __name__ == "__main__":
    sys.exit(main())
