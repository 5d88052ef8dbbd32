"""Exact rewrites of a trained A-Net that run faster in OpenVINO on a CPU.

Each puts other operators in the place of some, which compute the same function up to rounding; what each gains is on
the page on deployment. Facts behind most of them: the vector units of the processor hold 16 numbers, and OpenVINO
puts channels there, so that 3, 8 or 1 of them waste most. It keeps the channels of a pixel side by side in memory, so
that a reshape in that order is free, but for one right behind a convolution that also adds (``MergeTransposeAndReorder``
of its CPU plugin leaves that out). And it computes PReLU and norm in one go with a convolution, but not with a deconvolution.
"""

import copy
from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from anet_core.blocks import CatBlock, DepthToSpace, DownBlock, LightBlock, SegHead, SumLast, UpBlock, WideBlock
from anet_core.network import ANet

LANES = 16


def optimise(model: nn.Module, rewrites: Sequence[Callable[[nn.Module], None]] | None = None) -> nn.Module:
    """A copy of a trained A-Net, by either reading, of a row of its ablation or of QuarterNet, with the same logits up to rounding, faster once exported.

    Other networks have no such rewrites and come back as they are.

    Args:
        rewrites: those to do, in order; all of REWRITES by default.
    """
    if not isinstance(model, ANet):
        return model
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        for rewrite in REWRITES if rewrites is None else rewrites:
            for block in list(model.modules()):
                rewrite(block)
    return model


def pair_first_block(block: nn.Module) -> None:
    """The first Down block on pairs of neighbouring pixels: six channels, which lie in memory as those of the picture do; it pools by a shift in memory."""
    if isinstance(block, ANet) and isinstance(first := block.detail_extraction[0], DownBlock):
        block.detail_extraction[0] = PairedDown(first)


def pair_pixels(block: nn.Module) -> None:
    """The second half of a bottleneck of 8 channels on pairs of neighbouring pixels, which have 16."""
    if isinstance(block, (LightBlock, WideBlock, SumLast)) and block.body[0].out_channels == LANES // 2:
        before = 3 if block.body[3].groups == 1 else 4  # the depthwise convolution of a Light block has its channels apart
        *convolutions, norm, activation = block.body[before:7]
        pairs = Pairs(), *map(paired, convolutions), repeated(norm, 2), activation, DepthToSpace(1, 2)
        block.body = nn.Sequential(*block.body[:before], *pairs, *block.body[7:])


def deconvolve_rows(block: nn.Module) -> None:
    """A 2x2 stride-2 deconvolution, with the PReLU and norm behind it, as a convolution of each row by itself to two rows."""
    if isinstance(block, ANet) and isinstance(block.head, nn.ConvTranspose2d):
        block.head = RowDeconvolution(block.head)
    elif isinstance(block, UpBlock):
        block.body = nn.Sequential(*block.body[:3], RowDeconvolution(*block.body[3:6]), *block.body[6:])
    elif isinstance(block, SegHead):
        block.body = nn.Sequential(RowDeconvolution(*block.body[:3]), *block.body[3:])


def keep_rows_apart(block: nn.Module) -> None:
    """The last Up block and the blocks behind it have rows apart where they add, too: right behind a sum, parting them moves them in memory."""
    if isinstance(block, ANet) and isinstance(block.detail_fusion, nn.Sequential):
        at_a_quarter, *rest = block.detail_fusion
        block.detail_fusion = nn.Sequential(at_a_quarter, *map(by_rows, rest))


def upsample_rows_whole(block: nn.Module) -> None:
    """The last Up block interpolates within rows, and then between them as if each were one pixel of many channels: interpolation costs more by the pixel than by the channel."""
    if isinstance(block, ANet) and isinstance(block.detail_fusion, nn.Sequential):
        last = block.detail_fusion[1]
        last.shortcut = nn.Sequential(*last.shortcut[:-1], RowUpsample())


def fill_lanes(block: nn.Module) -> None:
    """The last convolution, 3x3 to one channel, as a 6x6 one of stride 4 to 16: the pixels of a block of 4x4.

    It multiplies four times as much, but with 16 times as many lanes at work.
    """
    if isinstance(block, SegHead):
        side = 4
        *rest, last = block.body
        blockwise = nn.Conv2d(last.in_channels, side**2, side + 2, stride=side, padding=1)
        blockwise.weight.zero_()
        for i in range(side):
            for j in range(side):
                blockwise.weight[side * i + j, :, i : i + 3, j : j + 3] = last.weight[0]
        blockwise.bias.copy_(last.bias.expand(side**2))
        block.body = nn.Sequential(*rest, blockwise, DepthToSpace(side, side))


def split_cat(block: nn.Module) -> None:
    """The Cat block compresses its two inputs apart and adds, instead of joining them in memory first."""
    if isinstance(block, ANet) and isinstance(block.cat, CatBlock):
        block.cat = SplitCat(block.cat)


REWRITES = (pair_first_block, pair_pixels, deconvolve_rows, keep_rows_apart, upsample_rows_whole, fill_lanes, split_cat)


def paired(convolution: nn.Conv2d) -> nn.Conv2d:
    """What a convolution of stride 1, without bias and groups, computes, on pairs of neighbouring pixels of a row: see ``Pairs``.

    Kernels (C_out, C_in, rows, columns) become (2*C_out, 2*C_in, rows, pairs), with the zeros that this takes.
    """
    c_out, c_in, rows, columns = convolution.weight.shape
    reach = columns // 2  # pixels to either side
    pairs = -(-reach // 2)
    wide = nn.Conv2d(2 * c_in, 2 * c_out, (rows, 2 * pairs + 1), padding=(rows // 2, pairs), bias=False)
    wide.weight.zero_()
    kernel = wide.weight.view(2, c_out, 2, c_in, rows, -1)
    for to, of, tap in product(range(2), range(2), range(2 * pairs + 1)):
        column = reach + 2 * (tap - pairs) + of - to
        if 0 <= column < columns:
            kernel[to, :, of, ..., tap] = convolution.weight[..., column]
    return wide


def repeated(norm: nn.BatchNorm2d, times: int) -> nn.BatchNorm2d:
    """The norm of ``times`` copies of its channels, one copy behind the other."""
    many = nn.BatchNorm2d(times * norm.num_features, eps=norm.eps)
    many.load_state_dict({key: value.repeat(times) if value.ndim else value for key, value in norm.state_dict().items()})
    return many.eval()


class Pairs(nn.Module):
    """Two neighbouring pixels of a row as one, whose channels are theirs, one behind the other: (N, C, H, W) -> (N, 2C, H, W/2).

    ``DepthToSpace(1, 2)`` makes pixels of them again.
    """

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.permute(0, 2, 3, 1).reshape(n, h, w // 2, 2 * c).permute(0, 3, 1, 2)


class RowDeconvolution(nn.Module):
    """See ``deconvolve_rows``; (N, C_in, H, W) -> (N, C_out, 2H, 2W).

    A row is a picture of height 1; a kernel of height 2 makes two rows of it, and of each pixel the channels of two. So all
    that is made lies where it belongs.
    """

    def __init__(self, deconvolution: nn.ConvTranspose2d, *pixelwise: nn.Module) -> None:
        super().__init__()
        c_in, c_out = deconvolution.weight.shape[:2]
        convolution = nn.Conv2d(c_in, 2 * c_out, (2, 1), padding=(1, 0), bias=False)
        kernel = deconvolution.weight.flip(2)  # the upper of two rows meets the lower half of the kernel
        convolution.weight.copy_(kernel.permute(3, 1, 0, 2).reshape_as(convolution.weight))
        pixelwise = (repeated(module, 2) if isinstance(module, nn.BatchNorm2d) else module for module in pixelwise)
        self.body = nn.Sequential(convolution, *pixelwise)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        x = self.body(apart(x)).permute(0, 2, 3, 1)  # (N*H, 2, W, 2*C_out)
        return x.reshape(n, 2 * h, 2 * w, -1).permute(0, 3, 1, 2)


def by_rows(block: nn.Module) -> nn.Module:
    """The form of a block that ``keep_rows_apart`` puts in its place; a plain convolution stays."""
    if isinstance(block, UpBlock):
        return UpByRows(block)
    return ByRows(block) if isinstance(block, (LightBlock, WideBlock, SumLast)) else block


class ByRows(nn.Module):
    """A Light or Wide block, by either reading of its sum, that contracts, expands and adds rows apart; see ``keep_rows_apart``."""

    def __init__(self, block: LightBlock | WideBlock | SumLast) -> None:
        super().__init__()
        self.contraction, self.filter, self.expansion = block.body[:3], block.body[3:-3], block.body[-3:]
        self.activation, self.sum_last = block.activation, isinstance(block, SumLast)

    def forward(self, x: Tensor) -> Tensor:
        rows = apart(x)
        y = self.filter(together(self.contraction(rows), len(x)))
        y = self.expansion(apart(y))
        return together(rows + self.activation(y) if self.sum_last else self.activation(rows + y), len(x))


class UpByRows(nn.Module):
    """An Up block that expands and adds rows apart; see ``keep_rows_apart``."""

    def __init__(self, block: UpBlock) -> None:
        super().__init__()
        self.shortcut, self.filter, self.expansion = block.shortcut, block.body[:-3], block.body[-3:]
        self.activation = block.activation

    def forward(self, x: Tensor) -> Tensor:
        y = apart(self.shortcut(x)) + self.expansion(apart(self.filter(x)))
        return together(self.activation(y), len(x))


def apart(x: Tensor) -> Tensor:
    """Each row a picture by itself: (N, C, H, W) -> (N*H, C, 1, W)."""
    n, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).reshape(n * h, 1, w, c).permute(0, 3, 1, 2)


def together(rows: Tensor, n: int) -> Tensor:
    """The n pictures of rows ``apart``: (N*H, C, 1, W) -> (N, C, H, W)."""
    _, c, _, w = rows.shape
    return rows.permute(0, 2, 3, 1).reshape(n, -1, w, c).permute(0, 3, 1, 2)


class RowUpsample(nn.Module):
    """See ``upsample_rows_whole``; (N, C, H, W) -> (N, C, 2H, 2W)."""

    def __init__(self) -> None:
        super().__init__()
        self.columns, self.rows = (nn.Upsample(scale_factor=by, mode="bilinear", align_corners=True) for by in ((1, 2), (2, 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.columns(x)
        n, c, h, w = x.shape
        x = x.permute(0, 2, 3, 1).reshape(n, h, 1, w * c).permute(0, 3, 1, 2)  # a row as one pixel
        x = self.rows(x).permute(0, 2, 3, 1)
        return x.reshape(n, 2 * h, w, c).permute(0, 3, 1, 2)


class PairedDown(nn.Module):
    """See ``pair_first_block``; (N, 3, H, W) -> (N, C_out, H/2, W/2), as the block that it is made from."""

    def __init__(self, block: DownBlock) -> None:
        super().__init__()
        pointwise, norm, activation, strided, *rest = block.body
        m, c_in = pointwise.weight.shape[:2]
        four = nn.Conv2d(2 * c_in, 4 * m, (2, 1), stride=(2, 1), bias=False)  # to the channels of 2x2 pixels
        four.weight.zero_()
        kernel = four.weight.view(2, 2, m, 2, c_in, 2)
        for row, column in product(range(2), range(2)):
            kernel[row, column, :, column, :, row] = pointwise.weight[..., 0, 0]
        sum_of_four = nn.Conv2d(4 * m, strided.out_channels, 1, bias=False)
        sum_of_four.weight.copy_(strided.weight.permute(0, 2, 3, 1).reshape_as(sum_of_four.weight))
        self.body = nn.Sequential(Pairs(), four, repeated(norm, 4), activation, sum_of_four, *rest)
        _, pointwise, norm = block.shortcut
        of_pooled = nn.Conv2d(2 * c_in, pointwise.out_channels, 1, bias=False)
        of_pooled.weight.copy_(torch.cat((pointwise.weight, torch.zeros_like(pointwise.weight)), 1))
        self.shortcut = nn.Sequential(PairedMaxPool(), Pairs(), paired(of_pooled), repeated(norm, 2), DepthToSpace(1, 2))
        self.activation = block.activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.shortcut(x) + self.body(x))


class PairedMaxPool(nn.Module):
    """2x2 stride-2 max-pooling: (N, C, H, W) -> (N, 2C, H/2, W/2), whose first C channels are the result and the others to be passed over.

    To compare all numbers with those a pixel further in memory is quick; to drop every other result, of a pixel and the next pair's, is not.
    """

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.permute(0, 2, 3, 1).reshape(n, h, w // 2, 2 * c)
        x = torch.maximum(x[:, ::2], x[:, 1::2]).reshape(n, -1)
        x = torch.maximum(x, pad(x, (-c, c)))
        return x.reshape(n, h // 2, w // 2, 2 * c).permute(0, 3, 1, 2)


class SplitCat(nn.Module):
    """See ``split_cat``."""

    def __init__(self, block: CatBlock) -> None:
        super().__init__()
        depthwise, pointwise = block.compress
        self.depthwise_kernels = nn.ParameterList(depthwise.weight.chunk(2, 0))
        self.pointwise_kernels = nn.ParameterList(pointwise.weight.chunk(2, 1))
        self.extraction = block.extraction

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        halves = zip((detail, semantic), self.depthwise_kernels, self.pointwise_kernels)
        one, other = (conv2d(conv2d(x, d, padding=1, groups=len(d)), p) for x, d, p in halves)
        return self.extraction(one + other)
