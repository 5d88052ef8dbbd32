"""Training steps a second on a GPU: each network's step as one CUDA graph, beside the same step kernel by kernel.

    python workflow/gpu_speed.py --dataset neu-inclusion
    python workflow/gpu_speed.py --dataset neu-inclusion --side-by-side 1 2 4 8

Writes results/gpu/GPU--networks.csv, and with --side-by-side results/gpu/GPU--side-by-side.csv: what several processes that
train A-Net on one GPU do together. They share it in turns, or at the same time where NVIDIA's multi-process service runs.
"""

import argparse
import copy
import subprocess
import time
from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
from torch import Tensor
from torch.multiprocessing import get_context

from anet_core import build
from anet_core.dataset import load
from anet_core.protocol import TUNED
from anet_core.records import RESULTS
from anet_core.registry import names
from anet_core.run import processor
from anet_core.step import GraphedStep, step
from anet_core.training import has_bf16, to_tensors
from data_prep import locate

KERNEL_BY_KERNEL = 10  # steps that are timed
GRAPHED = 40
COMPARED = 5  # steps whose losses the two ways have in common, up to rounding
TOGETHER = 400  # steps of each process beside others


def steps(model: str, images: Tensor, masks: Tensor) -> dict[str, Callable[[int], float]]:
    """The step of a network by either way, from the same weights."""
    torch.manual_seed(0)
    network = build(model).cuda().to(memory_format=torch.channels_last).train()
    ways = {}
    for way in ("kernels", "graph"):
        copied = copy.deepcopy(network)
        optimizer = torch.optim.SGD(copied.parameters(), TUNED.learning_rate, TUNED.momentum, weight_decay=TUNED.weight_decay, fused=True)
        setting = copied, optimizer, images, masks, TUNED, 0
        bf16 = has_bf16("cuda")
        ways[way] = GraphedStep(*setting, bf16) if way == "graph" else partial(step, *setting, bf16=bf16)
    return ways


def seconds(take_step: Callable[[int], float], first: int, number: int) -> float:
    """Time of a step, whose loss the host waits for each time."""
    started = time.perf_counter()
    for t in range(first, first + number):
        take_step(t)
    return (time.perf_counter() - started) / number


def measure(model: str, images: Tensor, masks: Tensor) -> dict:
    """Steps a second of a network by either way, and the largest difference of their first losses."""
    started = time.perf_counter()
    ways = steps(model, images, masks)
    prepared = time.perf_counter() - started
    losses = {way: [take_step(t) for t in range(COMPARED)] for way, take_step in ways.items()}
    kernels, graph = seconds(ways["kernels"], COMPARED, KERNEL_BY_KERNEL), seconds(ways["graph"], COMPARED, GRAPHED)
    return {
        "model": model, "kernels": 1 / kernels, "graph": 1 / graph, "ratio": kernels / graph, "prepared": prepared,
        "difference": max(abs(a - b) for a, b in zip(losses["kernels"], losses["graph"])),
    }


def train_beside(dataset: str, model: str, ready, start, times) -> None:
    """One process of several: it waits for the others, then trains."""
    take_step = steps(model, *to_tensors(load(locate(dataset), "train"), "cuda"))["graph"]
    take_step(0)
    ready.release()
    start.wait()
    times.put(TOGETHER * seconds(take_step, 1, TOGETHER))


def side_by_side(dataset: str, model: str, processes: int) -> dict:
    """Steps a second that several processes train a network with together."""
    context = get_context("spawn")
    ready, start, times = context.Semaphore(0), context.Event(), context.Queue()
    workers = [context.Process(target=train_beside, args=(dataset, model, ready, start, times)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.acquire()
    start.set()
    slowest = max(times.get() for _ in workers)
    for worker in workers:
        worker.join()
    return {"model": model, "processes": processes, "service": service(), "steps": processes * TOGETHER / slowest}


def service() -> bool:
    """Whether NVIDIA's multi-process service runs."""
    return subprocess.run(["pgrep", "-f", "nvidia-cuda-mps-control"], capture_output=True).returncode == 0


def write(rows: list[dict], what: str) -> None:
    """Print a table of measurements and write it to its file, behind what an earlier call wrote there."""
    path = RESULTS / "gpu" / f"{processor('cuda').lower().replace(' ', '-')}--{what}.csv"
    table = pd.DataFrame(rows).assign(precision="bf16" if has_bf16("cuda") else "f32", torch=torch.__version__)
    if path.exists():
        table = pd.concat([pd.read_csv(path), table], ignore_index=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(path, index=False)
    print(f"{path}\n{table.to_string(index=False)}", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="synthetic", help="a known name or a folder")
    parser.add_argument("--models", nargs="+", default=names(), help="all if not given")
    parser.add_argument("--side-by-side", type=int, nargs="+", help="numbers of processes, instead of the networks one by one")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here")
    if options.side_by_side:
        write([side_by_side(options.dataset, model, number) for model in options.models for number in options.side_by_side], "side-by-side")
        return
    images, masks = to_tensors(load(locate(options.dataset), "train"), "cuda")
    rows = []
    for model in options.models:
        rows.append(measure(model, images, masks))
        print(rows[-1], flush=True)
        torch.cuda.empty_cache()
    write(rows, "networks")


if __name__ == "__main__":
    main()
