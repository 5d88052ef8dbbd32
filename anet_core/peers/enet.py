"""ENet: an early-downsampling network of bottlenecks with a small decoder.

A. Paszke, A. Chaurasia, S. Kim, E. Culurciello, "ENet: A Deep Neural Network Architecture for Real-Time
Semantic Segmentation", arXiv:1606.02147, 2016. Variant: one slope a PReLU; at a downsampling, 1x1 and 2x2
stride 2 for the paper's 2x2 and 3x3, and a 1x1 convolution where the paper adds zero channels; stage 3 without
its fifth block, which the A-Net paper's build holds but does not run.
Initialisation and norm momentum: PyTorch's; the paper is silent.
"""

from torch import Tensor, cat, nn

from anet_core.network import require_image_batch
from anet_core.peers.layers import conv_bn
from anet_core.peers.unpooling import max_positions, max_unpool


def conv(c_in: int, c_out: int, kernel: int | tuple[int, int], stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution, batch norm, PReLU; an odd kernel keeps the size at stride 1."""
    k_h, k_w = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (dilation * ((k_h - 1) // 2), dilation * ((k_w - 1) // 2))
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(c_out), nn.PReLU()
    )


def asymmetric(m: int) -> nn.Sequential:
    """A 5x5 convolution as 5x1 and 1x5, batch norm, PReLU."""
    return nn.Sequential(nn.Conv2d(m, m, (5, 1), padding=(2, 0), bias=False), conv(m, m, (1, 5)))


def expand(m: int, c_out: int, dropout: float) -> nn.Sequential:
    """The 1x1 expansion and the regulariser that end an extension branch."""
    return nn.Sequential(*conv_bn(m, c_out), nn.Dropout2d(dropout))


class InitialBlock(nn.Module):
    """13 convolved and 3 pooled channels at half the size (Fig. 2a), (N, 3, H, W) -> (N, 16, H/2, W/2)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 13, 3, stride=2, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.norm = nn.Sequential(nn.BatchNorm2d(16), nn.PReLU())

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(cat((self.conv(image), self.pool(image)), dim=1))


class Bottleneck(nn.Module):
    """Bottleneck that keeps the size (Fig. 2b): regular, dilated, or asymmetric 5x1 and 1x5.

    Args:
        channels, m: width, and width of the bottleneck.
        middle: the convolution at m channels.
        dropout: rate of the spatial dropout.

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int, m: int, middle: nn.Module, dropout: float = 0.1) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, m, 1), middle, expand(m, channels, dropout))
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.body(x))


class DownBottleneck(nn.Module):
    """Bottleneck that halves the size: 2x2 stride 2 beside max-pooling, which a 1x1 convolution widens.

    Args:
        c_in, m, c_out: widths in, of the bottleneck, out.
        dropout: rate of the spatial dropout.

    Shape:
        (N, c_in, H, W) -> (N, c_out, H/2, W/2), and the pooling's positions (N, c_in, H/2, W/2)
    """

    def __init__(self, c_in: int, m: int, c_out: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(c_in, m, 1), conv(m, m, 2, stride=2), expand(m, c_out, dropout))
        self.main = nn.Sequential(nn.MaxPool2d(2), *conv_bn(c_in, c_out))
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.activation(self.main(x) + self.body(x)), max_positions(x)


class UpBottleneck(nn.Module):
    """Bottleneck that doubles the size: deconvolution beside a 1x1 convolution and max-unpooling.

    Args:
        c_in, m, c_out: widths in, of the bottleneck, out.

    Shape:
        (N, c_in, H, W) and positions (N, c_out, H, W) -> (N, c_out, 2H, 2W)
    """

    def __init__(self, c_in: int, m: int, c_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(c_in, m, 1),
            nn.ConvTranspose2d(m, m, 2, stride=2, bias=False), nn.BatchNorm2d(m), nn.PReLU(),
            expand(m, c_out, dropout=0.1),
        )
        self.main = conv_bn(c_in, c_out)
        self.activation = nn.PReLU()

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        return self.activation(max_unpool(self.main(x), positions) + self.body(x))


class ENet(nn.Module):
    """ENet (Table 1).

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32
    """

    def __init__(self) -> None:
        super().__init__()
        self.initial = InitialBlock()
        self.down1 = DownBottleneck(16, 16, 64, dropout=0.01)
        self.stage1 = nn.Sequential(*[Bottleneck(64, 16, conv(16, 16, 3), dropout=0.01) for _ in range(4)])
        self.down2 = DownBottleneck(64, 32, 128, dropout=0.1)
        self.stage2 = nn.Sequential(*[Bottleneck(128, 32, middle) for middle in (
            conv(32, 32, 3), conv(32, 32, 3, dilation=2), asymmetric(32), conv(32, 32, 3, dilation=4),
            conv(32, 32, 3), conv(32, 32, 3, dilation=8), asymmetric(32), conv(32, 32, 3, dilation=16),
        )])
        self.stage3 = nn.Sequential(*[Bottleneck(128, 32, middle) for middle in (
            conv(32, 32, 3), conv(32, 32, 3, dilation=2), asymmetric(32), conv(32, 32, 3, dilation=4),
            conv(32, 32, 3, dilation=8), asymmetric(32), conv(32, 32, 3, dilation=16),
        )])
        self.up4 = UpBottleneck(128, 16, 64)
        self.stage4 = nn.Sequential(*[Bottleneck(64, 16, conv(16, 16, 3)) for _ in range(2)])
        self.up5 = UpBottleneck(64, 4, 16)
        self.stage5 = Bottleneck(16, 4, conv(4, 4, 3))
        self.classifier = nn.ConvTranspose2d(16, 1, 2, stride=2, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        require_image_batch(image)
        x = self.initial(image)  # (N, 16, H/2, W/2)
        x, positions1 = self.down1(x)  # (N, 64, H/4, W/4)
        x, positions2 = self.down2(self.stage1(x))  # (N, 128, H/8, W/8)
        x = self.stage3(self.stage2(x))
        x = self.stage4(self.up4(x, positions2))  # (N, 64, H/4, W/4)
        x = self.stage5(self.up5(x, positions1))  # (N, 16, H/2, W/2)
        return self.classifier(x)  # (N, 1, H, W)
