"""BiSeNet V2, in the size the paper recommends (semantic to detail width 1/4, expansion 6).

C. Yu, C. Gao, J. Wang, G. Yu, C. Shen, N. Sang: BiSeNet V2: Bilateral Network with Guided Aggregation
for Real-time Semantic Segmentation, International Journal of Computer Vision, 2021.
Section, figure and table numbers below are those of that paper. Initialisation of the convolutions: "kaiming
normal" (its training settings); biases and norm momentum: PyTorch's; the paper is silent.
"""

from torch import Tensor, cat, nn

from anet_core.network import require_image_batch
from anet_core.peers.layers import conv_bn, conv_bn_relu

EXPANSION = 6


def upsample(factor: int) -> nn.Upsample:
    """Bilinear interpolation to factor times the size."""
    return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)


class StemBlock(nn.Module):
    """Quarters the resolution on two branches, convolution and max-pooling (Fig. 4a).

    Shape:
        (N, 3, H, W) -> (N, 16, H/4, W/4)
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv_bn_relu(3, 16, 3, stride=2)
        self.left = nn.Sequential(conv_bn_relu(16, 8, 1), conv_bn_relu(8, 16, 3, stride=2))
        self.right = nn.MaxPool2d(3, stride=2, padding=1)
        self.fuse = conv_bn_relu(32, 16, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv(image)  # (N, 16, H/2, W/2)
        return self.fuse(cat((self.left(x), self.right(x)), dim=1))


class GatherExpand(nn.Module):
    """Gather-and-expansion layer of stride 1 (Fig. 5b).

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        expanded = EXPANSION * channels
        self.body = nn.Sequential(
            conv_bn_relu(channels, channels, 3),
            conv_bn(channels, expanded, 3, groups=channels), nn.ReLU(inplace=True),
            conv_bn(expanded, channels),
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + x)


class GatherExpandDown(nn.Module):
    """Gather-and-expansion layer of stride 2: two depthwise convolutions and a shortcut (Fig. 5c).

    Shape:
        (N, c_in, H, W) -> (N, c_out, H/2, W/2)
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        expanded = EXPANSION * c_in
        self.body = nn.Sequential(
            conv_bn_relu(c_in, c_in, 3),
            conv_bn(c_in, expanded, 3, stride=2, groups=c_in),
            conv_bn(expanded, expanded, 3, groups=expanded), nn.ReLU(inplace=True),
            conv_bn(expanded, c_out),
        )
        self.shortcut = nn.Sequential(conv_bn(c_in, c_in, 3, stride=2, groups=c_in), conv_bn(c_in, c_out))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.shortcut(x))


class ContextEmbedding(nn.Module):
    """Adds the context of the whole image to every position (Fig. 4b).

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.context = nn.Sequential(nn.BatchNorm2d(channels), conv_bn_relu(channels, channels, 1))
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        context = x.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        return self.conv(x + self.context(context))


class GuidedAggregation(nn.Module):
    """Bilateral guided aggregation: each branch gates the other at its own scale (Fig. 6).

    Shape:
        detail (N, C, H/8, W/8), semantic (N, C, H/32, W/32) -> (N, C, H/8, W/8)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.detail_keep = nn.Sequential(conv_bn(channels, channels, 3, groups=channels), nn.Conv2d(channels, channels, 1))
        self.detail_down = nn.Sequential(*conv_bn(channels, channels, 3, stride=2), nn.AvgPool2d(3, stride=2, padding=1))
        self.semantic_up = nn.Sequential(*conv_bn(channels, channels, 3), upsample(4), nn.Sigmoid())
        self.semantic_keep = nn.Sequential(
            conv_bn(channels, channels, 3, groups=channels), nn.Conv2d(channels, channels, 1), nn.Sigmoid()
        )
        self.upsample = upsample(4)
        self.fuse = conv_bn_relu(channels, channels, 3)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        fine = self.detail_keep(detail) * self.semantic_up(semantic)  # (N, C, H/8, W/8)
        coarse = self.detail_down(detail) * self.semantic_keep(semantic)  # (N, C, H/32, W/32)
        return self.fuse(fine + self.upsample(coarse))


class SegHead(nn.Module):
    """Segmentation head; c_mid sets its cost (Fig. 7). The counts place a x2 upsampling inside it.

    Shape:
        (N, c_in, H / scale, W / scale) -> (N, 1, H, W)
    """

    def __init__(self, c_in: int, c_mid: int, scale: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn_relu(c_in, c_mid, 3), upsample(2),
            nn.Conv2d(c_mid, 1, 3, padding=1, bias=False), upsample(scale // 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class BiSeNetV2(nn.Module):
    """BiSeNet V2 (Fig. 3, Table 1); in training mode also its four booster heads (Sec. 4.4).

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32. In training mode a tuple of five
        such maps: main, then the boosters after the stem, S3, S4 and S5.
    """

    AUX_WEIGHT = 1.0  # the paper states no weight; BiSeNet's is alpha = 1 (ECCV 2018, Sec. 3.3)

    def __init__(self) -> None:
        super().__init__()
        self.detail = nn.Sequential(
            conv_bn_relu(3, 64, 3, stride=2), conv_bn_relu(64, 64, 3),  # S1: 1/2
            conv_bn_relu(64, 64, 3, stride=2), conv_bn_relu(64, 64, 3), conv_bn_relu(64, 64, 3),  # S2: 1/4
            conv_bn_relu(64, 128, 3, stride=2), conv_bn_relu(128, 128, 3), conv_bn_relu(128, 128, 3),  # S3: 1/8
        )
        self.stem = StemBlock()  # 1/4
        self.s3 = nn.Sequential(GatherExpandDown(16, 32), GatherExpand(32))  # 1/8
        self.s4 = nn.Sequential(GatherExpandDown(32, 64), GatherExpand(64))  # 1/16
        self.s5 = nn.Sequential(GatherExpandDown(64, 128), *(GatherExpand(128) for _ in range(3)))  # 1/32
        self.context = ContextEmbedding(128)
        self.aggregation = GuidedAggregation(128)
        self.head = SegHead(128, 512, scale=8)
        self.boosters = nn.ModuleList([
            SegHead(16, 128, scale=4), SegHead(32, 128, scale=8),
            SegHead(64, 256, scale=16), SegHead(128, 256, scale=32),
        ])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        require_image_batch(image)
        detail = self.detail(image)  # (N, 128, H/8, W/8)
        stem = self.stem(image)  # (N, 16, H/4, W/4)
        s3 = self.s3(stem)  # (N, 32, H/8, W/8)
        s4 = self.s4(s3)  # (N, 64, H/16, W/16)
        s5 = self.s5(s4)  # (N, 128, H/32, W/32)
        x = self.aggregation(detail, self.context(s5))  # (N, 128, H/8, W/8)
        main = self.head(x)  # (N, 1, H, W)
        if not self.training:
            return main
        return main, *(head(tap) for head, tap in zip(self.boosters, (stem, s3, s4, s5)))
