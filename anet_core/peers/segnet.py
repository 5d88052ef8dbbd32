"""SegNet: VGG16 encoder, and a decoder that unpools with the encoder's max-pooling indices.

V. Badrinarayanan, A. Kendall, R. Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture
for Image Segmentation", IEEE TPAMI 39(12), 2017. Variant: the full SegNet (Fig. 2), one logit map.
Initialisation: that of He et al., ICCV 2015, as the paper has it for both halves; norm momentum: PyTorch's,
the paper is silent.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from anet_core.network import require_image_batch
from anet_core.peers.unpooling import max_positions, max_unpool
from anet_core.peers.vgg import vgg16_stages, vgg_stage


class SegNet(nn.Module):
    """SegNet (Sec. 3, Fig. 2).

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = vgg16_stages(batch_norm=True)
        self.decoder = nn.ModuleList([  # mirrors the encoder; widths after the unpooling to 1/16 ... 1/1
            vgg_stage(512, (512, 512, 512), batch_norm=True),
            vgg_stage(512, (512, 512, 256), batch_norm=True),
            vgg_stage(256, (256, 256, 128), batch_norm=True),
            vgg_stage(128, (128, 64), batch_norm=True),
            vgg_stage(64, (64,), batch_norm=True),
        ])
        self.classifier = nn.Conv2d(64, 1, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        require_image_batch(image)
        x, positions = image, []
        for stage in self.encoder:
            x = stage(x)
            positions.append(max_positions(x))
            x = F.max_pool2d(x, 2)
        # x: (N, 512, H/32, W/32)
        for stage in self.decoder:
            x = stage(max_unpool(x, positions.pop()))
        return self.classifier(x)  # (N, 1, H, W)
