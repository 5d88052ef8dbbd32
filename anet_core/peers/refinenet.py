"""RefineNet: multi-path refinement.

G. Lin, A. Milan, C. Shen, I. Reid, "RefineNet: Multi-path refinement networks for high-resolution semantic
segmentation", CVPR 2017.
Variant: four cascaded blocks on ResNet-101, 512 channels in the coarsest and 256 in the others, no norm in the
decoder; the last two residual units work at full size.
Initialisation: PyTorch's outside the backbone; the paper is silent.
"""

from torch import Tensor, nn

from anet_core.network import require_image_batch
from anet_core.peers.layers import resize
from anet_core.peers.resnet import resnet101


def conv3x3(c_in: int, c_out: int, bias: bool = False) -> nn.Conv2d:
    """3x3 convolution, (N, c_in, H, W) -> (N, c_out, H, W)."""
    return nn.Conv2d(c_in, c_out, 3, padding=1, bias=bias)


class ResidualConvUnit(nn.Module):
    """RCU: a residual unit without batch norm (Sec. 3.2, Fig. 3b).

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), conv3x3(channels, channels, bias=True), nn.ReLU(inplace=True), conv3x3(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ChainedResidualPooling(nn.Module):
    """A chain of poolings, each fed by the one before, all added to the input (Sec. 3.2, Fig. 3d).

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.activation = nn.ReLU()
        self.chain = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(5, stride=1, padding=2), conv3x3(channels, channels)) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(x)
        path = x
        for pool in self.chain:
            path = pool(path)
            x = x + path
        return x


class RefineNetBlock(nn.Module):
    """Adapts two resolutions, fuses them, pools in a chain and refines the result (Fig. 3a).

    Args:
        c_coarse: width of the coarse input, half as large.
        channels: width of the fine input and of the output.

    Shape:
        (N, channels, H, W), (N, c_coarse, H/2, W/2) -> (N, channels, H, W)
    """

    def __init__(self, c_coarse: int, channels: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            ResidualConvUnit(channels), ResidualConvUnit(channels), conv3x3(channels, channels)
        )
        self.coarse = nn.Sequential(
            ResidualConvUnit(c_coarse), ResidualConvUnit(c_coarse), conv3x3(c_coarse, channels)
        )
        self.refine = nn.Sequential(ChainedResidualPooling(channels), ResidualConvUnit(channels))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        x = self.fine(fine)
        x = x + resize(self.coarse(coarse), like=x)
        return self.refine(x)


class RefineNet(nn.Module):
    """Four-cascaded RefineNet on ResNet-101 (Fig. 2c).

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = resnet101(dilations={})
        self.adapt = nn.ModuleList([conv3x3(256, 256), conv3x3(512, 256), conv3x3(1024, 256), conv3x3(2048, 512)])
        self.refine4 = nn.Sequential(  # a single input: nothing to fuse
            ResidualConvUnit(512), ResidualConvUnit(512), ChainedResidualPooling(512), ResidualConvUnit(512)
        )
        self.refine3 = RefineNetBlock(512, 256)
        self.refine2 = RefineNetBlock(256, 256)
        self.refine1 = RefineNetBlock(256, 256)
        self.head = nn.Sequential(ResidualConvUnit(256), ResidualConvUnit(256), nn.Conv2d(256, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        require_image_batch(image)
        layer1, layer2, layer3, layer4 = (adapt(x) for adapt, x in zip(self.adapt, self.backbone(image)))
        x = self.refine4(layer4)  # (N, 512, H/32, W/32)
        x = self.refine3(layer3, x)  # (N, 256, H/16, W/16)
        x = self.refine2(layer2, x)  # (N, 256, H/8, W/8)
        x = self.refine1(layer1, x)  # (N, 256, H/4, W/4)
        x = resize(x, like=image)  # (N, 256, H, W)
        return self.head(x)  # (N, 1, H, W)
