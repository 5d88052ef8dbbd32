"""Layers of torch whose backward pass is slow on a CPU, with a faster one, for training."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

LINE = 16  # float32 numbers in a line of the cache
WIDE = 4 * LINE


class OneSlopePReLU(torch.autograd.Function):
    """Eq. 5 with one slope a for all of x: torch's leaky ReLU, whose slope is a number, and the gradient of a beside it.

    torch's own backward of PReLU is not vectorised in bfloat16 and takes a third of A-Net's training step.
    """

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


class NarrowBatchNorm(torch.autograd.Function):
    """Batch normalisation in training of fewer channels than fill a line of the cache.

    In torch's own backward each thread adds up a row of one number a channel, and rows that share a line make the threads wait for each
    other: on two threads it takes a fifth of A-Net's training step. Here neighbouring pixels are taken for channels, and their rows summed.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        y, mean, rstd = torch.native_batch_norm(x, weight, bias, norm.running_mean, norm.running_var, True, norm.momentum, norm.eps)
        ctx.save_for_backward(x, weight, mean, rstd)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, rstd = ctx.saved_tensors
        n, c, h, w = x.shape
        count = n * h * w
        pixels = math.gcd(count, WIDE // c)
        x, gradient = (tensor.permute(0, 2, 3, 1).reshape(-1, pixels * c) for tensor in (x, gradient))  # (count / pixels, pixels * c)
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight.repeat(pixels), None, None, mean.repeat(pixels), rstd.repeat(pixels), True, 0.0, [False, True, True]
        )
        of_weight, of_bias = (total.reshape(pixels, c).sum(0) for total in (of_weight, of_bias))
        # weight * rstd * (gradient - of_bias / count - (x - mean) * rstd * of_weight / count)
        scale = weight * rstd
        slope = -scale * rstd * of_weight / count
        shift = -scale * of_bias / count - slope * mean
        of_x = affine(gradient, scale, torch.zeros_like(shift), pixels).add_(affine(x, slope, shift, pixels))
        return of_x.reshape(n, h, w, c).permute(0, 3, 1, 2), of_weight, of_bias, None


def affine(x: Tensor, scale: Tensor, shift: Tensor, pixels: int) -> Tensor:
    """x * scale + shift of pixels that stand for channels: the norm of mean 0 and variance 1, which computes in float32 whatever x is."""
    scale, shift = scale.repeat(pixels), shift.repeat(pixels)
    return torch.native_batch_norm(x, scale, shift, torch.zeros_like(scale), torch.ones_like(scale), False, 0.0, 0.0)[0]


def one_slope(prelu: nn.PReLU, x: Tensor) -> Tensor:
    """What ``prelu(x)`` computes, where it has one slope."""
    return OneSlopePReLU.apply(x, prelu.weight)


def narrow(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """What ``norm(x)`` computes in training."""
    norm.num_batches_tracked.add_(1)
    return NarrowBatchNorm.apply(x, norm.weight, norm.bias, norm)


@contextmanager
def fast_backward(model: nn.Module) -> Iterator[None]:
    """While inside, the model's PReLUs with one slope and norms of few channels compute the functions above, where they are on a CPU.

    The model is in training. Values and gradients are the same up to rounding.
    """
    replaced = []
    for module in model.modules():
        if type(module) is nn.PReLU and module.num_parameters == 1:
            forward = one_slope
        elif type(module) is nn.BatchNorm2d and module.num_features < LINE and module.affine and module.track_running_stats:
            forward = narrow
        else:
            continue
        if module.weight.device.type == "cpu":
            module.forward = partial(forward, module)
            replaced.append(module)
    try:
        yield
    finally:
        for module in replaced:
            del module.forward
