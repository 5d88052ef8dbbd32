"""FCN: a fully convolutional network with skips from two finer layers.

J. Long, E. Shelhamer, T. Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015.
Variant: ResNet-101 at output stride 32; the skips leave 1/32, 1/16 and 1/8 as in FCN-8s, but are fused at
256 channels by nearest up-sampling and scored once, at full size.
Initialisation: PyTorch's outside the backbone; the paper's (VGG weights, zero scores) belongs to another variant.
"""

from torch import Tensor, nn

from anet_core.network import require_image_batch
from anet_core.peers.resnet import resnet101


class FCN(nn.Module):
    """FCN on ResNet-101 (Sec. 4.2, Fig. 3).

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = resnet101(dilations={})
        self.skip2 = nn.Conv2d(512, 256, 1)
        self.skip3 = nn.Conv2d(1024, 256, 1)
        self.skip4 = nn.Conv2d(2048, 256, 1)
        self.twofold = nn.Upsample(scale_factor=2)
        self.eightfold = nn.Upsample(scale_factor=8)
        self.score = nn.Conv2d(256, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        require_image_batch(image)
        _, layer2, layer3, layer4 = self.backbone(image)  # 1/8, 1/16, 1/32
        x = self.twofold(self.skip4(layer4)) + self.skip3(layer3)  # (N, 256, H/16, W/16)
        x = self.twofold(x) + self.skip2(layer2)  # (N, 256, H/8, W/8)
        return self.score(self.eightfold(x))  # (N, 1, H, W)
