"""DeepLabV3+: atrous spatial pyramid pooling and a small decoder.

L.-C. Chen, Y. Zhu, G. Papandreou, F. Schroff, H. Adam, "Encoder-decoder with atrous separable convolution
for semantic image segmentation", ECCV 2018.
Variant: ResNet-101 at output stride 16, multi-grid (1, 2, 4) in layer4, plain 3x3 convolutions.
Initialisation: PyTorch's outside the backbone; the paper is silent. Norm momentum: PyTorch's; the paper trains as
DeepLabv3 did, whose decay of 0.9997 supposes a pretrained backbone and is too slow from scratch.
"""

from torch import Tensor, cat, nn

from anet_core.network import require_image_batch
from anet_core.peers.layers import conv_bn_relu, resize
from anet_core.peers.resnet import resnet101


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, 3x3 at three rates, image pooling (Sec. 3.1, Fig. 2).

    Shape:
        (N, c_in, H, W) -> (N, c_out, H, W)
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.atrous = nn.ModuleList([
            conv_bn_relu(c_in, c_out, 1), *(conv_bn_relu(c_in, c_out, 3, dilation=rate) for rate in (6, 12, 18)),
        ])
        self.image_pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_bn_relu(c_in, c_out, 1))
        self.projection = nn.Sequential(conv_bn_relu(5 * c_out, c_out, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        branches = [branch(x) for branch in self.atrous]
        branches.append(resize(self.image_pooling(x), like=x))
        return self.projection(cat(branches, dim=1))  # from (N, 5 * c_out, H, W)


class DeepLabV3Plus(nn.Module):
    """DeepLabV3+ on ResNet-101 (Fig. 2).

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = resnet101(dilations={4: (2, 4, 8)})
        self.aspp = ASPP(2048, 256)
        self.low_level = conv_bn_relu(256, 48, 1)
        self.decoder = nn.Sequential(
            conv_bn_relu(48 + 256, 256, 3), nn.Dropout(0.5),
            conv_bn_relu(256, 256, 3), nn.Dropout(0.1),
            nn.Conv2d(256, 1, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        require_image_batch(image)
        layer1, _, _, layer4 = self.backbone(image)
        low = self.low_level(layer1)  # (N, 48, H/4, W/4)
        x = self.aspp(layer4)  # (N, 256, H/16, W/16)
        x = cat((low, resize(x, like=low)), dim=1)  # (N, 304, H/4, W/4)
        x = self.decoder(x)  # (N, 1, H/4, W/4)
        return resize(x, like=image)  # (N, 1, H, W)
