"""PReLU with a vectorised backward pass, for training on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu


class OneSlopePReLU(torch.autograd.Function):
    """Eq. 5 with one slope a for all of x: torch's leaky ReLU, whose slope is a number, and the gradient of a beside it."""

    @staticmethod
    def forward(ctx, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return leaky_relu(x, slope.item())

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        of_x = torch.ops.aten.leaky_relu_backward(gradient, x, slope.item(), False)
        of_slope = (gradient * x.clamp_max(0)).sum()  # in bfloat16 too added up in float32
        return of_x, of_slope.to(slope.dtype).reshape(slope.shape)


def one_slope(prelu: nn.PReLU, x: Tensor) -> Tensor:
    """What ``prelu(x)`` computes, where it has one slope."""
    return OneSlopePReLU.apply(x, prelu.weight)


@contextmanager
def fast_prelu(model: nn.Module) -> Iterator[None]:
    """While inside, the model's PReLUs with one slope compute ``OneSlopePReLU``, where they are on a CPU.

    torch's own backward of PReLU is not vectorised in bfloat16 and takes a third of A-Net's training step there.
    Values and gradients are the same.
    """
    prelus = [
        module for module in model.modules()
        if type(module) is nn.PReLU and module.num_parameters == 1 and module.weight.device.type == "cpu"
    ]
    for prelu in prelus:
        prelu.forward = partial(one_slope, prelu)
    try:
        yield
    finally:
        for prelu in prelus:
            del prelu.forward
