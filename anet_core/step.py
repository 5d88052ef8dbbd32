"""One iteration of training: kernel by kernel, or on a GPU as one CUDA graph."""

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from anet_core.fast_backward import fast_backward
from anet_core.loss import segmentation_loss
from anet_core.prediction import normalise
from anet_core.protocol import Protocol

WARMUP = 3  # steps before a capture: cuDNN chooses its algorithms in them


def step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, masks: Tensor, protocol: Protocol, seed: int, t: int, bf16: bool,
) -> float:
    """Iteration t on its batch of all training images and masks, as ``training.to_tensors`` gives them; its loss."""
    image, mask = drawn(images, masks, *draw(t, protocol.batch_size, images, seed))
    for group in optimizer.param_groups:
        group["lr"] = protocol.learning_rate_at(t)
    return update(model, optimizer, image, mask, protocol.loss_reduction, bf16).item()


class GraphedStep:
    """``step`` on a GPU, captured once and launched whole: a small network's kernels take less time than their launching one by one.

    The images and masks lie in the GPU's memory in all their poses, 32 bytes a pixel of each square picture. Arguments as of ``step``, with
    images and masks on the CPU; call it with t.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, masks: Tensor, protocol: Protocol, seed: int, bf16: bool,
    ) -> None:
        self.protocol, self.seed, self.kept = protocol, seed, (model, optimizer)  # the graph writes where they lie
        self.images, self.masks = (
            torch.stack([posed(x, pose) for pose in range(symmetries(x))]).cuda() for x in (images, masks.to(torch.uint8))
        )  # (poses, N, ...)
        self.chosen = torch.zeros(2, protocol.batch_size, dtype=torch.long, device="cuda")  # poses and images of a batch
        self.rate = torch.zeros((), device="cuda")
        for group in optimizer.param_groups:
            group["lr"] = self.rate
        for parameter in model.parameters():
            optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))

        def take() -> Tensor:
            image, mask = (pictures[*self.chosen] for pictures in (self.images, self.masks))
            return update(model, optimizer, image, mask.float(), protocol.loss_reduction, bf16).detach()

        state = [*model.state_dict().values(), *(values["momentum_buffer"] for values in optimizer.state.values())]
        before = [tensor.clone() for tensor in state]
        self.graph = torch.cuda.CUDAGraph()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMUP):
                take()
        torch.cuda.current_stream().wait_stream(side)
        with torch.no_grad():
            for tensor, value in zip(state, before):
                tensor.copy_(value)
        with torch.cuda.graph(self.graph):
            self.loss = take()

    def __call__(self, t: int) -> float:
        batch, poses = draw(t, self.protocol.batch_size, self.images[0], self.seed)
        self.chosen.copy_(torch.tensor([poses, batch]))
        self.rate.fill_(self.protocol.learning_rate_at(t))
        self.graph.replay()
        return self.loss.item()


def optimizer_of(model: nn.Module, protocol: Protocol) -> torch.optim.SGD:
    """Stochastic gradient descent by a protocol; on a GPU in one kernel."""
    fused = next(model.parameters()).is_cuda
    return torch.optim.SGD(model.parameters(), protocol.learning_rate, protocol.momentum, weight_decay=protocol.weight_decay, fused=fused)


def update(model: nn.Module, optimizer: torch.optim.Optimizer, image: Tensor, mask: Tensor, reduction: str, bf16: bool) -> Tensor:
    """One step of gradient descent on a batch; its loss before it."""
    with torch.autocast(image.device.type, torch.bfloat16, enabled=bf16), fast_backward(model):
        logits = model(normalise(image).to(memory_format=torch.channels_last))
    loss = total_loss(model, logits, mask, reduction)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def total_loss(model: nn.Module, logits: Tensor | tuple[Tensor, ...], mask: Tensor, reduction: str) -> Tensor:
    """Eq. 6 of the main output, plus the weighted sum of the auxiliary ones where a network has them."""
    if isinstance(logits, Tensor):
        return segmentation_loss(logits, mask, reduction)
    main, *auxiliary = (segmentation_loss(output, mask, reduction) for output in logits)
    return main + model.AUX_WEIGHT * sum(auxiliary)


def draw(t: int, batch_size: int, images: Tensor, seed: int) -> tuple[list[int], list[int]]:
    """Which of all images iteration t takes, and their poses. Sets torch's generators, for the dropout that follows, by (seed, t) alone."""
    torch.manual_seed(seed * 1_000_000 + t)
    return batch_indices(t, batch_size, len(images), seed), draw_poses(batch_size, images)


def drawn(images: Tensor, masks: Tensor, batch: list[int], poses: list[int]) -> tuple[Tensor, Tensor]:
    """The images of a batch and their masks in their poses."""
    return tuple(torch.stack([posed(x, pose) for x, pose in zip(pictures[batch], poses)]) for pictures in (images, masks))


def batch_indices(t: int, batch_size: int, images: int, seed: int) -> list[int]:
    """The images of iteration t: consecutive ones of an endless row of seeded permutations, one an epoch."""
    places = (divmod(position, images) for position in range(t * batch_size, (t + 1) * batch_size))
    return [permutation(images, seed, epoch)[place] for epoch, place in places]


@cache
def permutation(images: int, seed: int, epoch: int) -> list[int]:
    """The order in which an epoch takes the images."""
    return np.random.default_rng((seed, epoch)).permutation(images).tolist()


def symmetries(images: Tensor) -> int:
    """Poses in which pictures (..., H, W) keep their size: 8, or 4 of those that are not square."""
    return 8 if images.shape[-1] == images.shape[-2] else 4


def draw_poses(number: int, images: Tensor) -> list[int]:
    """Random poses, numbered as ``posed`` has them."""
    turns = symmetries(images) // 2
    return [2 * int(torch.randint(turns, ())) + bool(torch.rand(()) < 0.5) for _ in range(number)]


def posed(images: Tensor, pose: int) -> Tensor:
    """Pictures (..., H, W) rotated by 90 degrees, or 180 where they are not square, pose // 2 times, then mirrored left to right if pose is odd."""
    turns, flip = divmod(pose, 2)
    return images.rot90(turns * 8 // symmetries(images), (-2, -1)).flip((-1,) if flip else ())
