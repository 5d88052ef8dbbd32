"""What the built A-Net is, read off its modules: the lines of Table I, and what Sec. III says in words."""

from functools import cache
from math import isqrt, log2

import pandas as pd
import torch
from torch import nn

from anet_core.blocks import KINDS, DownBlock, LightBlock, SegHead, UpBlock, WideBlock
from anet_core.network import ANet

SIZE = 224  # of the input
PARTS = {"detail": ("S1", "S2"), "semantic": ("S3", "S4", "S5")}  # of the extraction, and their stages
NAMES = dict(zip(KINDS, ("Down", "Light", "Wide", "Up", "Cat", "Seg Head")))  # in Table I


@cache
def stages() -> pd.DataFrame:
    """The blocks of A-Net in the order they run on a 224x224 picture.

    Returns:
        DataFrame, a row a block: side ("down" to the deepest stage, "up" after it), stage ("S1" for 1/2 of the input's
        size, ..., "input"), block, c_in, c_m (-1 for Cat, which has no bottleneck), c_out, and the output's size in pixels.
    """
    with torch.device("meta"):
        network, image = ANet().eval(), torch.empty(1, 3, SIZE, SIZE)
    rows, side = [], "down"

    def note(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal side
        side = "up" if isinstance(module, UpBlock) else side
        level = int(log2(SIZE / output.shape[2]))
        rows.append({
            "side": side, "stage": f"S{level}" if level else "input", "block": NAMES[type(module)],
            "c_in": inputs[0].shape[1], "c_m": module.body[0].out_channels if hasattr(module, "body") else -1,
            "c_out": output.shape[1], "size": output.shape[2],
        })

    for module in network.modules():
        if type(module) in NAMES:
            module.register_forward_hook(note)
    network(image)
    return pd.DataFrame(rows)


def stage_value(side: str, stage: str, operation: str, column: str) -> int:
    """A cell of Table I, whose "LFEM" is the Light and Wide blocks of a stage.

    Raises:
        ValueError: the stage has no such block, or its blocks differ.
    """
    blocks = ("Light", "Wide") if operation == "LFEM" else (operation,)
    values = stages().query("side == @side and stage == @stage and block in @blocks")[column].unique()
    if len(values) != 1:
        raise ValueError(f"{operation} of stage {stage} on the way {side} has the values {values.tolist()} of {column}.")
    return int(values[0])


def bottleneck(block: str) -> float:
    """C_m / C_out of the blocks of a kind; nan unless all have the same."""
    shares = (stages().c_m / stages().c_out)[stages().block == block].unique()
    return float(shares[0]) if len(shares) == 1 else float("nan")


def stacked(part: str, block: str) -> list[int]:
    """How many blocks of a kind each stage of a part of PARTS has."""
    down = stages().query("side == 'down' and block == @block")
    return [int((down.stage == stage).sum()) for stage in PARTS[part]]


def jumps() -> int:
    """Number of jump connections."""
    return int((stages().block == "Cat").sum())


def jump_size() -> float:
    """Size of the jump connection's features over the input's."""
    return float(stages().query("block == 'Cat'")["size"].item() / SIZE)


def head_size() -> float:
    """Size of the features that the seg head is given, over the input's."""
    return float(stages()["size"].iloc[-2] / SIZE)


def kernel(block: str) -> int:
    """Kernel of the resampling convolution of Down or Up, of the Head's last one, of what replaces Light or Wide ("no-Light")."""
    with torch.device("meta"):
        parts = {
            "Down": DownBlock(32, 8, 32).body, "Up": UpBlock(32, 8, 32).body, "Head": SegHead(32).body,
            "no-Light": ANet(light=False).detail_extraction[1:2], "no-Wide": ANet(wide=False).detail_extraction[2:3],
        }[block]
    kernels = [part.kernel_size[0] for part in parts if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d))]
    return [k for k in kernels if k > 1][-1]


def stride(block: str) -> int:
    """By how much Down divides, or Up multiplies, the size."""
    module = {"Down": DownBlock, "Up": UpBlock}[block](32, 8, 32).eval()
    small, large = sorted((16, module(torch.zeros(1, 32, 16, 16)).shape[2]))
    return large // small


def receptive_field(block: str) -> int:
    """Side of the square, in pixels, that an output pixel of Light, Wide or a plain convolution ("3x3") depends on.

    All weights are made positive, so that no dependence cancels.
    """
    kinds = {"Light": LightBlock, "Wide": WideBlock}
    module = kinds[block](8).eval() if block in kinds else nn.Conv2d(8, 8, int(block[0]), padding="same")
    for weight in module.parameters():
        nn.init.constant_(weight, 0.1)
    image = torch.ones(1, 8, 15, 15, requires_grad=True)
    module(image)[0, 0, 7, 7].backward()
    return isqrt(int(image.grad[0].any(0).sum()))
