"""ESNet, the efficient symmetric network.

Y. Wang, Q. Zhou, J. Xiong, X. Wu, X. Jin, "ESNet: An Efficient Symmetric Network for Real-time Semantic
Segmentation", Chinese Conference on Pattern Recognition and Computer Vision (PRCV), 2019 (arXiv 1906.09826).
Down-sampling, up-sampling and the factorised convolutions are ERFNet's. Dropout of whole channels at the rates of
public code, 0.03 (FCU) and 0.3 (PFCU), none in the decoder. Initialisation and norms: PyTorch's; the paper is silent.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from anet_core.network import require_image_batch
from anet_core.peers.erfnet import Downsampler, FactorisedConv, NonBottleneck1D, Upsampler


def fcu(channels: int, kernel: int, dropout: float = 0.0) -> NonBottleneck1D:
    """Factorised convolution unit: ERFNet's non-bottleneck-1D of another kernel, without dilation."""
    return NonBottleneck1D(channels, kernel, dropout=dropout)


class PFCU(nn.Module):
    """Parallel factorised convolution unit: transform, split, transform, merge.

    One factorised convolution feeds three dilated ones. A single norm follows each of the three in turn, so that
    its running statistics mix those of all three.

    Args:
        channels: width of the input and the output.
        dropout: probability of dropping a channel of a branch.

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.transform = FactorisedConv(channels)
        self.norm1 = nn.BatchNorm2d(channels)
        self.branches = nn.ModuleList(FactorisedConv(channels, dilation=d) for d in (2, 5, 9))
        self.norm2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        split = F.relu(self.norm1(self.transform(x)))
        for branch in self.branches:
            x = x + self.dropout(self.norm2(branch(split)))
        return F.relu(x)


class ESNet(nn.Module):
    """ESNet, encoder and decoder nearly symmetric.

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            Downsampler(3, 16), *(fcu(16, 3, dropout=0.03) for _ in range(3)),  # 1/2
            Downsampler(16, 64), *(fcu(64, 5, dropout=0.03) for _ in range(2)),  # 1/4
            Downsampler(64, 128), *(PFCU(128, dropout=0.3) for _ in range(3)),  # 1/8
        )
        self.decoder = nn.Sequential(
            Upsampler(128, 64), fcu(64, 5), fcu(64, 5),  # 1/4
            Upsampler(64, 16), fcu(16, 3), fcu(16, 3),  # 1/2
            nn.ConvTranspose2d(16, 1, 2, stride=2),  # 1
        )

    def forward(self, image: Tensor) -> Tensor:
        require_image_batch(image)
        x = self.encoder(image)  # (N, 128, H/8, W/8)
        return self.decoder(x)  # (N, 1, H, W)
