"""PGA-Net: pyramid feature fusion and global context attention on a VGG16 backbone.

H. Dong, K. Song, Y. He, J. Xu, Y. Yan, Q. Meng, "PGA-Net: Pyramid Feature Fusion and Global Context
Attention Network for Automated Surface Defect Detection", IEEE TII 16(12), 2020. Variant: 128 channels;
one of many members of this family that give the A-Net paper's parameters and FLOPs.
Initialisation: the backbone, pretrained in the paper, by Glorot and Bengio's rule, which VGG's paper
(Sec. 3.1) names for training from scratch; the rest PyTorch's, the paper is silent.
"""

from torch import Tensor, cat, nn

from anet_core.network import require_image_batch
from anet_core.peers.vgg import vgg16_stages

CHANNELS = 128  # of every fused map
MAP_WIDTHS = (64, 128, 256, 512, 512)  # of VGG16 after its poolings, at 1/2 ... 1/32


def conv(c_in: int, kernel: int) -> nn.Sequential:
    """Convolution with bias, batch norm, ReLU: (N, c_in, H, W) -> (N, 128, H, W)."""
    return nn.Sequential(
        nn.Conv2d(c_in, CHANNELS, kernel, padding=kernel // 2), nn.BatchNorm2d(CHANNELS), nn.ReLU(inplace=True)
    )


def bring(c_in: int, source: int, target: int) -> nn.Sequential:
    """Brings the map of one level of the pyramid to another level at 128 channels.

    Args:
        c_in: width of the map.
        source, target: levels, 0 the finest; r = 2^|target - source| is the ratio of their sizes.

    Shape:
        (N, c_in, H, W) -> (N, 128, H/r, W/r) towards a coarser level, (N, 128, rH, rW) towards a finer one
    """
    r = 2 ** abs(target - source)
    kind = nn.ConvTranspose2d if target < source else nn.Conv2d
    return nn.Sequential(kind(c_in, CHANNELS, r, stride=r), nn.BatchNorm2d(CHANNELS), nn.ReLU(inplace=True))


class PyramidFeatureFusion(nn.Module):
    """All five maps brought to one level and fused there.

    Args:
        level: the level, 0 the finest.

    Shape:
        five maps of MAP_WIDTHS channels -> (N, 128, H, W) of the level
    """

    def __init__(self, level: int) -> None:
        super().__init__()
        self.bring = nn.ModuleList(bring(c_in, source, level) for source, c_in in enumerate(MAP_WIDTHS))
        self.fuse = conv(len(MAP_WIDTHS) * CHANNELS, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.fuse(cat([layer(x) for layer, x in zip(self.bring, maps)], dim=1))  # from (N, 640, H, W)


class GlobalContextAttention(nn.Module):
    """Low-resolution maps guide high-resolution ones by their global context.

    Shape:
        high (N, 128, 2H, 2W) and low (N, 128, H, W) -> (N, 128, 2H, 2W)
    """

    def __init__(self) -> None:
        super().__init__()
        self.high = conv(CHANNELS, 1)
        self.low = conv(CHANNELS, 1)
        self.gate = nn.Sequential(conv(CHANNELS, 1), conv(CHANNELS, 1))
        self.up = nn.Sequential(
            nn.ConvTranspose2d(CHANNELS, CHANNELS, 4, stride=2, padding=1),
            nn.BatchNorm2d(CHANNELS), nn.ReLU(inplace=True),
        )

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        low = self.low(low)
        gate = self.gate(low.mean((2, 3), keepdim=True))  # (N, 128, 1, 1)
        return self.high(high) * gate + self.up(low)


class BoundaryRefinement(nn.Module):
    """Residual pair of 3x3 convolutions, (N, 128, H, W) -> (N, 128, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(CHANNELS, 3),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class PGANet(nn.Module):
    """PGA-Net.

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = vgg16_stages(batch_norm=False)
        self.pool = nn.MaxPool2d(2)
        self.fusion = nn.ModuleList(PyramidFeatureFusion(level) for level in range(5))
        self.attention = nn.ModuleList(GlobalContextAttention() for _ in range(4))
        self.refinement = nn.ModuleList(BoundaryRefinement() for _ in range(4))
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.classifier = nn.Conv2d(CHANNELS, 1, 1)
        for module in self.backbone.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        require_image_batch(image)
        x, maps = image, []
        for stage in self.backbone:
            x = self.pool(stage(x))
            maps.append(x)  # (N, 64, H/2, W/2) ... (N, 512, H/32, W/32)
        fused = [fusion(maps) for fusion in self.fusion]
        x = fused.pop()  # (N, 128, H/32, W/32)
        for attention, refinement in zip(self.attention, self.refinement):
            x = refinement(attention(fused.pop(), x))
        x = self.upsample(x)  # (N, 128, H, W), from (N, 128, H/2, W/2)
        return self.classifier(x)  # (N, 1, H, W)
