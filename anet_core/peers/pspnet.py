"""PSPNet: pyramid scene parsing network.

H. Zhao, J. Shi, X. Qi, X. Wang, J. Jia, "Pyramid scene parsing network", CVPR 2017.
Variant: ResNet-50 at output stride 8; each level of the pyramid keeps all 2048 channels, and three up-sampling
steps lead back to full size. The paper's auxiliary loss has no place in the counted network.
Dropout of channels: 0.3 behind the pyramid, 0.15 behind each up-sampling. Initialisation and norm momentum:
PyTorch's outside the backbone; the paper is silent.
"""

from torch import Tensor, cat, nn
from torch.nn import functional as F

from anet_core.network import require_image_batch
from anet_core.peers.layers import resize
from anet_core.peers.resnet import resnet50


class PyramidPooling(nn.Module):
    """Average pooling into 1x1, 2x2, 3x3 and 6x6 bins, up-sampled and concatenated (Sec. 3.2, Fig. 3c).

    Shape:
        (N, C, H, W) -> (N, c_out, H, W)
    """

    def __init__(self, channels: int, c_out: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), nn.Conv2d(channels, channels, 1, bias=False))
            for bins in (1, 2, 3, 6)
        )
        self.fusion = nn.Sequential(nn.Conv2d(5 * channels, c_out, 1), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        context = [resize(level(x), like=x) for level in self.levels]
        return self.fusion(cat((*context, x), dim=1))  # from (N, 5C, H, W)


class UpSampling(nn.Module):
    """Bilinear x2 and a 3x3 convolution.

    Shape:
        (N, c_in, H, W) -> (N, c_out, 2H, 2W)
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.PReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.body(F.interpolate(x, scale_factor=2, mode="bilinear"))


class PSPNet(nn.Module):
    """PSPNet on a dilated ResNet-50 (Fig. 3).

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = resnet50(dilations={3: (1, 2, 2, 2, 2, 2), 4: (1, 4, 4)})
        self.pyramid = nn.Sequential(PyramidPooling(2048, 1024), nn.Dropout2d(0.3))
        self.decoder = nn.Sequential(
            UpSampling(1024, 256), nn.Dropout2d(0.15),
            UpSampling(256, 64), nn.Dropout2d(0.15),
            UpSampling(64, 64), nn.Dropout2d(0.15),
            nn.Conv2d(64, 1, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        require_image_batch(image)
        x = self.backbone(image)[-1]  # (N, 2048, H/8, W/8)
        x = self.pyramid(x)  # (N, 1024, H/8, W/8)
        return self.decoder(x)  # (N, 1, H, W)
