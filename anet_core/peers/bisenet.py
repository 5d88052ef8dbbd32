"""BiSeNet: a spatial path for detail and a context path for the receptive field.

C. Yu, J. Wang, C. Peng, C. Gao, G. Yu, N. Sang, "BiSeNet: Bilateral segmentation network for real-time semantic
segmentation", ECCV 2018.
Variant: ResNet-18 as context path; the attention of its refinement has no batch norm, and the fusion module works at
as many channels as there are classes, here one.
Initialisation: PyTorch's outside the backbone; the paper is silent.
"""

from torch import Tensor, cat, nn

from anet_core.network import require_image_batch
from anet_core.peers.layers import conv_bn_relu, resize
from anet_core.peers.resnet import resnet18


class AttentionRefinement(nn.Module):
    """ARM: weights the channels by their global average (Sec. 3.2, Fig. 2b).

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class FeatureFusion(nn.Module):
    """FFM: mixes the two paths and re-weights the mixture (Sec. 3.3, Fig. 2c).

    Shape:
        two features whose channels are c_in together, (N, C, H, W) each -> (N, c_out, H, W)
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.mix = conv_bn_relu(c_in, c_out, 3)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(c_out, c_out, 1), nn.ReLU(inplace=True),
            nn.Conv2d(c_out, c_out, 1), nn.Sigmoid(),
        )

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        x = self.mix(cat((spatial, context), dim=1))
        return x * self.attention(x) + x


class BiSeNet(nn.Module):
    """BiSeNet on ResNet-18 (Fig. 2a).

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; in training mode followed by those of the two auxiliary heads,
        of the same shape. H and W multiples of 32
    """

    AUX_WEIGHT = 1.0  # alpha of the joint loss (BiSeNet, Sec. 3.3, "Loss function")

    def __init__(self) -> None:
        super().__init__()
        self.spatial_path = nn.Sequential(
            conv_bn_relu(3, 64, 3, stride=2), conv_bn_relu(64, 128, 3, stride=2), conv_bn_relu(128, 256, 3, stride=2)
        )
        self.context_path = resnet18()
        self.refine16 = AttentionRefinement(256)
        self.refine32 = AttentionRefinement(512)
        self.fusion = FeatureFusion(256 + 256 + 512, 1)
        self.classifier = nn.Conv2d(1, 1, 1)
        self.aux16 = nn.Conv2d(256, 1, 1)
        self.aux32 = nn.Conv2d(512, 1, 1)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        require_image_batch(image)
        spatial = self.spatial_path(image)  # (N, 256, H/8, W/8)
        _, _, context16, context32 = self.context_path(image)
        tail = context32.mean(dim=(2, 3), keepdim=True)  # (N, 512, 1, 1)
        context16 = self.refine16(context16)  # (N, 256, H/16, W/16)
        context32 = self.refine32(context32) * tail  # (N, 512, H/32, W/32)
        context = cat((resize(context16, like=spatial), resize(context32, like=spatial)), dim=1)
        x = self.fusion(spatial, context)  # (N, 1, H/8, W/8)
        logits = self.classifier(resize(x, like=image))  # (N, 1, H, W)
        if self.training:
            return logits, resize(self.aux16(context16), like=image), resize(self.aux32(context32), like=image)
        return logits
