"""Training and evaluation as plain functions (Sec. IV.A.2-3)."""

import hashlib
import math
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor, nn

from anet_core.dataset import Samples
from anet_core.metrics import confusion, iou, iou_image_mean, iou_pooled
from anet_core.prediction import pad_amounts, predict
from anet_core.protocol import Protocol
from anet_core.step import GraphedStep, optimizer_of, step
from data_prep.whole import whole

CHECKPOINT_EVERY = {"cpu": 50, "cuda": 250}  # iterations: of A-Net a minute on the one, seconds on the other
EVALUATED_AT_ONCE = 10  # pictures


class TimeUp(Exception):
    """The deadline has come; the checkpoint holds all that was done."""


def train(
    model: nn.Module, samples: Samples, protocol: Protocol, seed: int, *,
    checkpoint: Path | None = None, device: str = "cpu", progress: bool = True, deadline: float | None = None,
) -> tuple[list[float], float]:
    """Train a network in place by a protocol, with convolutions in bfloat16 where the processor multiplies it.

    Iteration t draws its images, their rotations and flips and the dropout from (seed, t) alone, so a
    run that was killed resumes from its checkpoint to the same weights: bit for bit on the same CPU with as many threads, while on CUDA some
    operations add up in no fixed order.

    Args:
        model: from (N, 3, H, W) to logits, or in training to a tuple of them (main, auxiliary, ...)
            whose auxiliary losses weigh ``model.AUX_WEIGHT``.
        samples: the training images; sizes other than multiples of 32 are padded by reflection.
        checkpoint: file to resume from if it exists and to write every so many iterations; removed by the
            caller once the result is safe. At a constant rate it may be one of a shorter run.
        deadline: a moment of ``time.monotonic``, with a checkpoint: after it TimeUp is raised.

    Returns:
        the loss of each iteration, nan from where the training diverged, and the seconds spent, earlier tries included.

    Raises:
        TimeUp: the deadline has come.
        ValueError: a checkpoint that is damaged or of another run, or network and images that do not fit into the GPU's memory.
    """
    bf16 = has_bf16(device)
    images, masks = to_tensors(samples)
    model.to(device, memory_format=torch.channels_last).train()
    optimizer = optimizer_of(model, protocol)
    identity = {
        "network": repr(model), "protocol": asdict(protocol), "seed": seed, "device": device, "bf16": bf16,
    }
    data = hashlib.sha256(samples.images)
    data.update(samples.masks)
    identity["data"] = data.hexdigest()
    losses, seconds = resume(checkpoint, identity, model, optimizer)
    started = time.perf_counter() - seconds
    setting = model, optimizer, images, masks, protocol, seed
    try:
        take_step = GraphedStep(*setting, bf16) if device == "cuda" else partial(step, *setting, bf16=bf16)
    except torch.OutOfMemoryError:
        raise ValueError(
            f"the network and its {len(images)} images do not fit into the GPU's memory; set CUDA_VISIBLE_DEVICES to nothing to train on the CPU."
        ) from None
    for t in range(len(losses), protocol.iterations):
        losses.append(take_step(t))
        seconds = time.perf_counter() - started
        if not math.isfinite(losses[-1]):  # then no weight is a number, and no later loss can be one
            print(end="\n" if progress else "", flush=True)
            return losses[:t] + [math.nan] * (protocol.iterations - t), seconds
        late = checkpoint and deadline and time.monotonic() > deadline
        if checkpoint and (late or (t + 1) % CHECKPOINT_EVERY[device] == 0):
            save_checkpoint(checkpoint, identity, model, optimizer, losses, seconds)
        if late:
            raise TimeUp
        if progress:
            print_progress(t + 1, protocol.iterations, losses[-1], seconds)
    return losses, seconds


def evaluate(model: nn.Module, samples: Samples) -> dict:
    """Intersection over union on images, in float32, in percent (Eq. 8).

    Returns:
        iou_pooled, iou_image_mean, and for each id its value in iou_images, its numbers of pixels TP, FN, FP in
        confusion_images and its group of pictures of one surface in group_images.
    """
    batches = [slice(i, i + EVALUATED_AT_ONCE) for i in range(0, len(samples.ids), EVALUATED_AT_ONCE)]
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        counts = np.concatenate([confusion(predict(model, samples.images[b]), samples.masks[b]) for b in batches])
    return {
        "iou_pooled": 100 * iou_pooled(counts),
        "iou_image_mean": 100 * iou_image_mean(counts),
        "iou_images": dict(zip(samples.ids, (100 * iou(counts)).tolist())),
        "confusion_images": dict(zip(samples.ids, counts.tolist())),
        "group_images": dict(zip(samples.ids, samples.groups)),
    }


def has_bf16(device: str) -> bool:
    """Whether the processor multiplies bfloat16 natively."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu.get_capabilities().get("avx512_bf16", False)


def to_tensors(samples: Samples) -> tuple[Tensor, Tensor]:
    """Images uint8 (N, 3, H, W) and masks float32 (N, 1, H, W), padded to multiples of 32."""
    rows, columns = pad_amounts(*samples.masks.shape[1:])
    images = np.pad(samples.images, ((0, 0), rows, columns, (0, 0)), mode="reflect")
    masks = np.pad(samples.masks, ((0, 0), rows, columns), mode="reflect")
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(masks)[:, None].float()


def resume(checkpoint: Path | None, identity: dict, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[list[float], float]:
    """Losses and seconds so far, with model and optimiser restored; nothing where there is no checkpoint."""
    if checkpoint is None or not checkpoint.exists():
        return [], 0.0
    state = read_checkpoint(checkpoint)
    known, protocol = state["identity"], identity["protocol"]
    if protocol["decay_power"] == 0 and len(state["losses"]) <= protocol["iterations"]:  # so far the same run
        known["protocol"] |= {key: protocol[key] for key in ("name", "iterations")}
    if known != identity:
        raise ValueError(f"{checkpoint} belongs to a run of another network, or with other settings or data; delete it to start afresh.")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["losses"], state["seconds"]


def read_checkpoint(checkpoint: Path) -> dict:
    """What ``save_checkpoint`` wrote; ValueError where it is damaged."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        if len(state["losses"]) <= state["identity"]["protocol"]["iterations"] and {"model", "optimizer", "seconds"} <= state.keys():
            return state
        reason = "of something else"
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, UnpicklingError) as error:
        reason = type(error).__name__
    raise ValueError(f"{checkpoint} is damaged ({reason}); delete it to start that run afresh.")


def save_checkpoint(
    checkpoint: Path, identity: dict, model: nn.Module, optimizer: torch.optim.Optimizer, losses: list[float], seconds: float
) -> None:
    """Write all that ``resume`` needs, whole or not at all; OSError where the disk is full."""
    state = {
        "identity": identity, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
        "losses": losses, "seconds": seconds,
    }
    with whole(checkpoint) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError:  # torch's word for a write that was cut short
            raise OSError("cut short; the one before it is kept") from None


def print_progress(done: int, total: int, loss: float, seconds: float) -> None:
    """One line, rewritten in place: a bar, the iteration, the loss, the time left."""
    bar = "#" * (20 * done // total)
    left = seconds / done * (total - done)
    print(f"\r[{bar:20}] {done}/{total}  loss {loss:.3f}  {left:4.0f} s left", end="\n" if done == total else "", flush=True)
