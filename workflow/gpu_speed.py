"""Training steps a second on a GPU: each network's step as one CUDA graph, beside the same step kernel by kernel.

    python workflow/gpu_speed.py
    python workflow/gpu_speed.py --models A-Net --side-by-side 1 2 4 8

Appends to results/gpu/GPU--networks.csv, and with --side-by-side to results/gpu/GPU--side-by-side.csv: what several processes that
train one network on one GPU do together. They share it in turns, or at the same time where NVIDIA's multi-process service runs.
"""

import argparse
import copy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pandas as pd
import torch
from torch import Tensor

from anet_core import build
from anet_core.dataset import load
from anet_core.protocol import TUNED
from anet_core.records import RESULTS
from anet_core.registry import names
from anet_core.run import processor
from anet_core.step import GraphedStep, optimizer_of, step
from anet_core.training import has_bf16, to_tensors
from data_prep import locate
from data_prep.command_line import exit_code

KERNEL_BY_KERNEL = 10  # steps that are timed
GRAPHED = 40
COMPARED = 5  # steps whose losses the two ways have in common, up to rounding
TOGETHER = 200  # steps of each process beside others
PATIENCE = 300  # seconds that processes wait for each other


def network(model: str) -> torch.nn.Module:
    """A network in training on the GPU."""
    torch.manual_seed(0)
    return build(model).cuda().to(memory_format=torch.channels_last).train()


def graphed(net: torch.nn.Module, images: Tensor, masks: Tensor) -> GraphedStep:
    """Its step as one CUDA graph."""
    return GraphedStep(net, optimizer_of(net, TUNED), images, masks, TUNED, 0, has_bf16("cuda"))


def seconds(take_step: Callable[[int], float], first: int, number: int) -> float:
    """Time of a step, whose loss the host waits for each time."""
    started = time.perf_counter()
    for t in range(first, first + number):
        take_step(t)
    return (time.perf_counter() - started) / number


def measure(model: str, images: Tensor, masks: Tensor) -> dict:
    """Steps a second of a network by either way and their ratio, seconds that the capture takes, and the largest difference of the first losses."""
    net = network(model)
    other = copy.deepcopy(net)
    started = time.perf_counter()
    graph = graphed(net, images, masks)
    capture = time.perf_counter() - started
    kernels = partial(step, other, optimizer_of(other, TUNED), images.cuda(), masks.cuda(), TUNED, 0, bf16=has_bf16("cuda"))
    difference = max(abs(graph(t) - kernels(t)) for t in range(COMPARED))
    slow, fast = seconds(kernels, COMPARED, KERNEL_BY_KERNEL), seconds(graph, COMPARED, GRAPHED)
    return {"model": model, "kernels": 1 / slow, "graph": 1 / fast, "ratio": slow / fast, "capture": capture, "difference": difference}


def meet_at(place) -> None:
    """Remember, in a process of several, where they wait for each other."""
    global barrier
    barrier = place


def train_beside(dataset: str, model: str) -> float:
    """Seconds that one process of several takes for its steps, begun with the others."""
    take_step = graphed(network(model), *to_tensors(load(locate(dataset), "train")))
    take_step(0)
    barrier.wait()
    return TOGETHER * seconds(take_step, 1, TOGETHER)


def side_by_side(dataset: str, model: str, processes: int) -> dict:
    """Steps a second that several processes train a network with together, and whether the multi-process service ran."""
    context = get_context("spawn")
    how = {"mp_context": context, "initializer": meet_at, "initargs": (context.Barrier(processes, timeout=PATIENCE),)}
    service = bool(shutil.which("pgrep")) and subprocess.run(["pgrep", "-x", "nvidia-cuda-mps"], stdout=subprocess.DEVNULL).returncode == 0
    with ProcessPoolExecutor(processes, **how) as pool:
        slowest = max(pool.map(train_beside, [dataset] * processes, [model] * processes))
    return {"model": model, "processes": processes, "service": service, "steps": processes * TOGETHER / slowest}


def write(row: dict, table: str) -> None:
    """Print a measurement and append it to its file."""
    path = RESULTS / "gpu" / f"{processor('cuda').lower().replace(' ', '-')}--{table}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    line = pd.DataFrame([row | {"precision": "bf16" if has_bf16("cuda") else "f32", "torch": torch.__version__}]).round(4)
    line.to_csv(path, mode="a", header=not path.exists(), index=False)
    print(line.to_string(index=False), flush=True)


@exit_code
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="neu-inclusion", help="a known name or a folder (default: %(default)s, as the page says)")
    parser.add_argument("--models", nargs="+", default=names(), help="all if not given")
    parser.add_argument("--side-by-side", type=int, nargs="+", default=(), help="numbers of processes, instead of the networks one by one")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here")
    if options.side_by_side:
        for model in options.models:
            for number in options.side_by_side:
                write(side_by_side(options.dataset, model, number), "side-by-side")
        return
    images, masks = to_tensors(load(locate(options.dataset), "train"))
    for model in options.models:
        write(measure(model, images, masks), "networks")
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
