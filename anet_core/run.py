"""One cell of the paper's tables: a network trained on a data set by a protocol, tested, recorded; ``anet train`` does so."""

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import nn

from anet_core import records, weights
from anet_core.complexity import parameters
from anet_core.dataset import Samples, load, manifest_sha256
from anet_core.protocol import Protocol
from anet_core.registry import build
from anet_core.training import evaluate, has_bf16, train
from data_prep import catalogue
from data_prep.format import read_manifest
from data_prep.splits import split
from data_prep.own import settings

A_LOOK = 1  # second that a lock is waited for: campaign.state, which takes it only to see whether it is free, holds it for less
SEEDS = 2**32
HELD_BACK = 50  # training images that a protocol's values are chosen on


def run(
    model: str, folder: Path, protocol: Protocol, split_seed: int = 0, seed: int = 0, *,
    results: Path = records.RESULTS, held_back: bool = False, device: str | None = None, progress: bool = True,
    deadline: float | None = None, checkpoint: Path | None = None, wait: bool = False,
) -> dict:
    """The record of a run: read if it exists, otherwise trained, tested and written.

    Args:
        model: a name of ``registry.names()``.
        folder: the data set; its last part is the data set's name.
        held_back: test on 50 of the training images, which are then not trained on, instead of the
            test images: for choosing a protocol.
        device: "cpu" or "cuda"; None for CUDA where there is one.
        deadline: see ``training.train``.
        checkpoint: one to go on from, which is kept for a longer run; None for this run's own.
        wait: for another process that makes the same record, rather than to raise.

    The record goes to results/runs, the weights to results/weights, and a checkpoint of its own, until then, to
    results/checkpoints.

    Raises:
        ValueError: an unknown name, damaged data, no defect to test on, or a record of that name made from other data or by other settings.
        BlockingIOError: another process makes the record just now.
    """
    folder = Path(os.path.abspath(folder))  # a link keeps its own name, not that of what it leads to
    if split_seed and folder.name in catalogue.PROPOSED:
        raise ValueError(f"{folder.name} has masks that no person drew but in its own test images; run it on its own split, 0.")
    if odd := [of for of in (seed, split_seed) if not 0 <= of < SEEDS]:
        raise ValueError(f"the seed is {odd[0]}; give a whole number from 0 to {SEEDS - 1}.")
    protocol = protocol.for_dataset(folder.name)
    name = records.run_name(model, folder.name, protocol.name, split_seed, seed)
    path = results / "runs" / f"{name}.json"
    asked = {
        **protocol.values(),
        "model": model, "dataset": folder.name, "manifest_sha256": manifest_sha256(folder), "split_seed": split_seed, "seed": seed,
        "evaluated_on": "held-back" if held_back else "test", "protocol": protocol.name,
    }
    if not path.exists():
        torch.manual_seed(seed)
        network = build(model)  # before the lock, which an unknown name is not to leave behind
        patience = A_LOOK if not wait else -1 if deadline is None else max(0, deadline - time.monotonic())
        with claim(name, results, patience) as free:
            if not free:
                raise BlockingIOError(f"{name} is run by another process just now; wait until it has written {path}.")
            if not path.exists():
                own, about = results / "checkpoints" / f"{name}.pt", pictures(folder)
                record = asked | trained_and_tested(
                    network, folder, protocol, split_seed, seed, held_back,
                    device or ("cuda" if torch.cuda.is_available() else "cpu"), checkpoint=checkpoint or own, progress=progress, deadline=deadline,
                )
                if not held_back and not records.diverged(record):
                    weights.save(network, model, results / "weights" / f"{name}.safetensors", about)
                records.write(record, path)
                own.unlink(missing_ok=True)
    record = records.read(path)
    if record["manifest_sha256"] != asked["manifest_sha256"]:
        raise ValueError(f"{path} was made from other data than {folder} holds; delete the record to run it again.")
    if other := [key for key, value in asked.items() if record[key] != value]:
        raise ValueError(
            f"{path} is of a run with {', '.join(f'{key} {record[key]}' for key in other)}, where {', '.join(f'{asked[key]}' for key in other)} is asked for; "
            "delete the record, or give another folder of results."
        )
    return record


def pictures(folder: Path) -> dict:
    """What is to be known of a data set's pictures before further ones are predicted: see ``weights.PICTURES``."""
    row = read_manifest(folder)[0]
    return {"size": [int(row["height"]), int(row["width"])]} | settings(folder)


@contextmanager
def claim(name: str, results: Path, patience: float = A_LOOK) -> Iterator[bool]:
    """Whether this process alone may make a run: it holds the lock on a file of that name until the block ends, or the process, however it ends.

    Args:
        patience: seconds until the answer is no where another process holds the lock; -1 to wait until that has ended.

    Raises:
        OSError: the folder of results cannot be written to.
    """
    path = results / "checkpoints" / f"{name}.claim"
    lock = FileLock(path, timeout=patience)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        yield False
        return
    except OSError as error:
        raise OSError(f"{results} cannot be written to ({error.strerror}); give another folder of results.") from None
    try:
        yield True
    finally:
        lock.release()


def trained_and_tested(
    network: nn.Module, folder: Path, protocol: Protocol, split_seed: int, seed: int, held_back: bool, device: str, **how: object,
) -> dict:
    """What ``run`` finds out about a network, trained in place and tested on held-back or test images; ``how`` is for ``training.train``."""
    code = commit()  # now: the files may change while the run goes on
    train_samples = load(folder, "train", split_seed)
    if held_back:
        train_samples, test_samples = hold_back(train_samples)
    else:
        test_samples = load(folder, "test", split_seed)
    if not test_samples.masks.any():
        raise ValueError(f"no picture of {folder} to test on shows a defect, so an IoU would say nothing; add some, or split it anew.")
    losses, seconds = train(network, train_samples, protocol, seed, device=device, **how)
    return {
        **evaluate(network, test_samples),
        "losses": losses, "parameters": parameters(network), "seconds": seconds, "processor": processor(device),
        "threads": torch.get_num_threads(), "bf16": has_bf16(device), "commit": code,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }


def hold_back(samples: Samples) -> tuple[Samples, Samples]:
    """Training samples and, taken from them by a fixed seed, the samples to choose a protocol on: whole groups."""
    rows = [{"group": group, "defect_fraction": mask.mean()} for group, mask in zip(samples.groups, samples.masks)]
    if len(rows) <= HELD_BACK:
        raise ValueError(f"{len(rows)} training images are too few to hold {HELD_BACK} of them back.")
    held = np.array([row["split"] == "test" for row in split(rows, HELD_BACK, seed=0)])
    return samples.take(np.flatnonzero(~held)), samples.take(np.flatnonzero(held))


def processor(device: str) -> str:
    """The name of the GPU or CPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return torch.cpu.get_capabilities().get("cpu_name") or platform.machine()


def commit() -> str | None:
    """The commit of this checkout, "+" behind it where the code differs from it; None outside git."""
    root = Path(__file__).resolve().parents[1]
    try:
        head, changes = (
            subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", "anet_core", "data_prep"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changes else "")
