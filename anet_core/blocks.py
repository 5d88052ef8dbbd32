"""The blocks of A-Net, in the order of Sec. III.C-D.

``C`` is the paper's C_in = C_out of a block that keeps its width, ``m`` its C_m, the bottleneck's
width. Convolutions carry no bias unless a comment says why; PReLU has one slope a module: Eq. 5 writes
a_i, but with a slope for each channel the blocks would be larger than the paper prints.
"""

from torch import Tensor, cat, nn

DROPOUT = 0.1  # probability of dropping a whole channel


def pointwise(c_in: int, c_out: int) -> nn.Conv2d:
    """1x1 convolution, (N, c_in, H, W) -> (N, c_out, H, W)."""
    return nn.Conv2d(c_in, c_out, 1, bias=False)


def depthwise(channels: int) -> nn.Conv2d:
    """3x3 convolution of each channel by itself; the first half of Eq. 3."""
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)


class DownBlock(nn.Module):
    """Halves the resolution on two branches: 2x2 stride-2 convolution and max-pooling (Sec. III.C.1).

    Args:
        c_in, m, c_out: C_in, C_m and C_out of Table I.

    Shape:
        (N, c_in, H, W) -> (N, c_out, H/2, W/2)
    """

    def __init__(self, c_in: int, m: int, c_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            pointwise(c_in, m), nn.BatchNorm2d(m), nn.PReLU(),
            nn.Conv2d(m, m, 2, stride=2, bias=False), nn.BatchNorm2d(m), nn.PReLU(),
            pointwise(m, c_out), nn.BatchNorm2d(c_out), nn.Dropout2d(DROPOUT),
        )
        self.shortcut = nn.Sequential(nn.MaxPool2d(2), pointwise(c_in, c_out), nn.BatchNorm2d(c_out))
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.shortcut(x) + self.body(x))


class LightBlock(nn.Module):
    """Depthwise separable bottleneck with a residual connection (Sec. III.C.2, Fig. 3).

    Args:
        channels: C = C_in = C_out; the bottleneck has m = C // 4 (Table I).

    Shape:
        (N, C, H, W) -> (N, C, H, W), receptive field 3x3
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        m = channels // 4
        self.body = nn.Sequential(
            pointwise(channels, m), nn.BatchNorm2d(m), nn.PReLU(),
            depthwise(m), pointwise(m, m), nn.BatchNorm2d(m), nn.PReLU(),
            pointwise(m, channels), nn.BatchNorm2d(channels), nn.Dropout2d(DROPOUT),
        )
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.body(x))


class WideBlock(nn.Module):
    """5x1 and 1x5 factorised bottleneck with a residual connection (Sec. III.C.2, Fig. 3).

    Args:
        channels: C = C_in = C_out; the bottleneck has m = C // 4 (Table I).

    Shape:
        (N, C, H, W) -> (N, C, H, W), receptive field 5x5
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        m = channels // 4
        self.body = nn.Sequential(
            pointwise(channels, m), nn.BatchNorm2d(m), nn.PReLU(),
            nn.Conv2d(m, m, (5, 1), padding=(2, 0), bias=False),
            nn.Conv2d(m, m, (1, 5), padding=(0, 2), bias=False), nn.BatchNorm2d(m), nn.PReLU(),
            pointwise(m, channels), nn.BatchNorm2d(channels), nn.Dropout2d(DROPOUT),
        )
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.body(x))


class UpBlock(nn.Module):
    """Doubles the resolution on two branches: 2x2 stride-2 deconvolution and bilinear (Sec. III.D.1).

    Args:
        c_in, m, c_out: C_in, C_m and C_out of Table I.

    Shape:
        (N, c_in, H, W) -> (N, c_out, 2H, 2W)
    """

    def __init__(self, c_in: int, m: int, c_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            pointwise(c_in, m), nn.BatchNorm2d(m), nn.PReLU(),
            nn.ConvTranspose2d(m, m, 2, stride=2, bias=False), nn.BatchNorm2d(m), nn.PReLU(),
            pointwise(m, c_out), nn.BatchNorm2d(c_out), nn.Dropout2d(DROPOUT),
        )
        self.shortcut = nn.Sequential(
            pointwise(c_in, c_out), nn.BatchNorm2d(c_out),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        )
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.shortcut(x) + self.body(x))


class CatBlock(nn.Module):
    """The jump connection: details and up-sampled semantics, fused (Sec. III.D.1).

    Args:
        channels: C of either input.
        extraction: the block that follows the compression; Light in A-Net.

    Shape:
        (N, C, H, W), (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int, extraction: nn.Module) -> None:
        super().__init__()
        self.compress = nn.Sequential(depthwise(2 * channels), pointwise(2 * channels, channels))
        self.extraction = extraction

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        x = cat((detail, semantic), dim=1)  # (N, 2C, H, W)
        return self.extraction(self.compress(x))


class SegHead(nn.Module):
    """Maps the last features to one logit a pixel at input size (Sec. III.D.2, Fig. 4).

    Args:
        c_in: width of the features; the head works at half of it.

    Shape:
        (N, c_in, H/2, W/2) -> (N, 1, H, W)
    """

    def __init__(self, c_in: int) -> None:
        super().__init__()
        m = c_in // 2
        self.body = nn.Sequential(
            nn.ConvTranspose2d(c_in, m, 2, stride=2, bias=False), nn.PReLU(), nn.BatchNorm2d(m),
            depthwise(m), pointwise(m, m), nn.BatchNorm2d(m), nn.PReLU(),
            nn.Conv2d(m, 1, 3, padding=1),  # with bias: no norm follows it
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


KINDS = (DownBlock, LightBlock, WideBlock, UpBlock, CatBlock, SegHead)


class SumLast(nn.Module):
    """A Light or Wide block whose last PReLU comes before the sum with its input.

    So the words of Sec. III.C.2 can be read: "activation before combining the input and output". It counts to the same figures.

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, block: LightBlock | WideBlock) -> None:
        super().__init__()
        self.body, self.activation = block.body, block.activation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.activation(self.body(x))


# What Table II puts in a block's place when it takes the block away. The counts fix the shape and
# one more operation a value, a bias or an activation; a residual beside it would give the same printed
# digits, too.


def plain(kernel: int, channels: int, activated: bool = False) -> nn.Module:
    """The convolution that stands for a Light block (kernel 3) or a Wide block (5), (N, channels, H, W) to the same.

    Args:
        activated: with a PReLU instead of the bias, which counts to the same printed digits. Without, blocks in a row are one linear map.
    """
    if activated:
        return nn.Sequential(nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False), nn.PReLU())
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2)


class NoJump(nn.Module):
    """What is left of a Cat block without the jump connection: its extraction block alone.

    Shape:
        (N, C, H, W), of which nothing is taken, and (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, extraction: nn.Module) -> None:
        super().__init__()
        self.extraction = extraction

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        return self.extraction(semantic)


def plain_head(c_in: int) -> nn.ConvTranspose2d:
    """The single deconvolution that stands for the seg head, (N, c_in, H/2, W/2) -> (N, 1, H, W)."""
    return nn.ConvTranspose2d(c_in, 1, 2, stride=2, bias=False)


# Not in the paper, but in QuarterNet and in what ``rewrites`` makes of A-Net.


class DepthToSpace(nn.Module):
    """Channels to blocks of pixels, the block's rows and columns outermost: (N, rows*columns*C, H, W) -> (N, C, rows*H, columns*W).

    ``nn.PixelShuffle`` has them innermost, which tears the channels of a pixel apart; and OpenVINO, which recognises
    the operation where it is written plainly, has no fast kernel for it in bfloat16.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # (N, H, W, rows*columns*C)
        n, h, w, c = x.shape
        x = x.reshape(n, h, w, self.rows, c // self.rows).transpose(2, 3)  # (N, H, rows, W, columns*C)
        x = x.reshape(n, self.rows * h, self.columns * w, c // (self.rows * self.columns))
        return x.permute(0, 3, 1, 2)
