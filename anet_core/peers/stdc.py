"""STDC-Seg on the STDC1 backbone.

M. Fan, S. Lai, J. Huang, X. Wei, Z. Chai, J. Luo, X. Wei: Rethinking BiSeNet For Real-time Semantic
Segmentation, CVPR 2021. Section, figure and table numbers below are those of that paper.
Initialisation and norm momentum: PyTorch's; the paper is silent.
"""

from torch import Tensor, cat, nn
from torch.nn import functional as F

from anet_core.network import require_image_batch
from anet_core.peers.layers import conv_bn, conv_bn_relu, resize


class ShortTermDenseConcatenate(nn.Module):
    """STDC module of stride 1: four convolutions of falling width, all concatenated (Fig. 3b).

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block1 = conv_bn_relu(channels, channels // 2, 1)
        self.block2 = conv_bn_relu(channels // 2, channels // 4, 3)
        self.block3 = conv_bn_relu(channels // 4, channels // 8, 3)
        self.block4 = conv_bn_relu(channels // 8, channels // 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.block1(x)  # C/2
        x2 = self.block2(x1)  # C/4
        x3 = self.block3(x2)  # C/8
        x4 = self.block4(x3)  # C/8
        return cat((x1, x2, x3, x4), dim=1)


class ShortTermDenseConcatenateDown(nn.Module):
    """STDC module of stride 2, taken in the second block by a depthwise convolution (Fig. 3c).

    Shape:
        (N, c_in, H, W) -> (N, c_out, H/2, W/2)
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        half = c_out // 2
        self.block1 = conv_bn_relu(c_in, half, 1)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.block2 = nn.Sequential(
            *conv_bn(half, half, 3, stride=2, groups=half), conv_bn_relu(half, c_out // 4, 3),
        )
        self.block3 = conv_bn_relu(c_out // 4, c_out // 8, 3)
        self.block4 = conv_bn_relu(c_out // 8, c_out // 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.block1(x)  # (N, c_out/2, H, W)
        x2 = self.block2(x1)  # (N, c_out/4, H/2, W/2)
        x3 = self.block3(x2)  # c_out/8
        x4 = self.block4(x3)  # c_out/8
        return cat((self.pool(x1), x2, x3, x4), dim=1)


class STDC1(nn.Module):
    """The backbone (Table 2).

    Shape:
        (N, 3, H, W) -> the five stages: 32 channels at 1/2, 64 at 1/4, 256 at 1/8, 512 at 1/16, 1024 at 1/32
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([
            conv_bn_relu(3, 32, 3, stride=2), conv_bn_relu(32, 64, 3, stride=2),
            *(
                nn.Sequential(ShortTermDenseConcatenateDown(c_in, c_out), ShortTermDenseConcatenate(c_out))
                for c_in, c_out in ((64, 256), (256, 512), (512, 1024))
            ),
        ])

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [image]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]


class AttentionRefinement(nn.Module):
    """Attention refinement module, taken over from BiSeNet (Sec. 3.2).

    Shape:
        (N, c_in, H, W) -> (N, c_out, H, W)
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = conv_bn_relu(c_in, c_out, 3)
        self.attention = nn.Sequential(*conv_bn(c_out, c_out), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * self.attention(x.mean(dim=(2, 3), keepdim=True))


class FeatureFusion(nn.Module):
    """Feature fusion module, taken over from BiSeNet (Sec. 3.2).

    Shape:
        (N, C_detail, H, W), (N, C_context, H, W) -> (N, channels, H, W)
    """

    def __init__(self, c_in: int, channels: int) -> None:
        super().__init__()
        self.conv = conv_bn_relu(c_in, channels, 1)
        self.attention = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 1, bias=False), nn.ReLU(inplace=True),
            nn.Conv2d(channels // 4, channels, 1, bias=False), nn.Sigmoid(),
        )

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        x = self.conv(cat((detail, context), dim=1))
        return x * self.attention(x.mean(dim=(2, 3), keepdim=True)) + x


def conv_head(c_in: int, c_mid: int) -> nn.Sequential:
    """Seg head or detail head: (N, c_in, H, W) -> (N, 1, H, W) (Fig. 4)."""
    return nn.Sequential(conv_bn_relu(c_in, c_mid, 3), nn.Conv2d(c_mid, 1, 1, bias=False))


class STDC(nn.Module):
    """STDC1-Seg (Fig. 4).

    In training mode also the two auxiliary seg heads on the context path and the four boundary heads on the
    first stages. The boundary heads are trained on the same mask by the same loss as every other head: the
    detail loss of the network's own paper is not part of the A-Net paper's protocol.

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32. In training mode a tuple of seven such
        maps: main, the auxiliary heads at 1/8 and 1/16, the boundary heads at 1/2, 1/4, 1/8 and 1/16.
    """

    AUX_WEIGHT = 1.0  # the paper states no weight; BiSeNet's is alpha = 1 (ECCV 2018, Sec. 3.3)

    def __init__(self) -> None:
        super().__init__()
        self.backbone = STDC1()
        self.arm16 = AttentionRefinement(512, 128)
        self.arm32 = AttentionRefinement(1024, 128)
        self.average = conv_bn_relu(1024, 128, 1)
        self.refine16 = conv_bn_relu(128, 128, 3)
        self.refine32 = conv_bn_relu(128, 128, 3)
        self.fusion = FeatureFusion(256 + 128, 256)
        self.head = conv_head(256, 256)
        self.auxiliary_heads = nn.ModuleList([conv_head(128, 64), conv_head(128, 64)])
        self.boundary_heads = nn.ModuleList([conv_head(c_in, 64) for c_in in (32, 64, 256, 512)])

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        require_image_batch(image)
        s1, s2, s3, s4, s5 = self.backbone(image)  # 1/2, 1/4, 1/8, 1/16, 1/32
        average = self.average(s5.mean(dim=(2, 3), keepdim=True))  # (N, 128, 1, 1), broadcast by the sum
        x = F.interpolate(self.arm32(s5) + average, scale_factor=2, mode="nearest")  # (N, 128, H/16, W/16)
        context16 = self.refine32(x)
        x = F.interpolate(self.arm16(s4) + context16, scale_factor=2, mode="nearest")  # (N, 128, H/8, W/8)
        context8 = self.refine16(x)
        x = self.fusion(s3, context8)  # (N, 256, H/8, W/8)
        main = resize(self.head(x), image)  # (N, 1, H, W)
        if not self.training:
            return main
        heads = (*self.auxiliary_heads, *self.boundary_heads)
        taps = (context8, context16, s1, s2, s3, s4)
        return main, *(resize(head(tap), image) for head, tap in zip(heads, taps))
