"""ERFNet, the efficient residual factorised network.

E. Romera, J. M. Alvarez, L. M. Bergasa, R. Arroyo, "ERFNet: Efficient Residual Factorized ConvNet for Real-Time
Semantic Segmentation", IEEE Transactions on Intelligent Transportation Systems, 2018 (Table I).
Variant: trained in one go, without the encoder's own head. Dropout of whole channels at the rates of public code,
0.03 at 64 channels, 0.3 at 128, none in the decoder. Initialisation and norms: PyTorch's; the paper is silent.
"""

from torch import Tensor, cat, nn
from torch.nn import functional as F

from anet_core.network import require_image_batch


class FactorisedConv(nn.Module):
    """A k x k convolution as k x 1, ReLU, 1 x k, both with bias (Sec. III.A, Fig. 2c).

    Args:
        channels: width of the input and the output.
        kernel: k, odd.
        dilation: of either convolution, along its own axis.

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int, kernel: int = 3, dilation: int = 1) -> None:
        super().__init__()
        p = dilation * (kernel // 2)
        self.vertical = nn.Conv2d(channels, channels, (kernel, 1), padding=(p, 0), dilation=(dilation, 1))
        self.horizontal = nn.Conv2d(channels, channels, (1, kernel), padding=(0, p), dilation=(1, dilation))

    def forward(self, x: Tensor) -> Tensor:
        return self.horizontal(F.relu(self.vertical(x)))


class NonBottleneck1D(nn.Module):
    """Two factorised convolutions with a residual connection (Sec. III.A, Fig. 2c).

    Args:
        channels: width of the input and the output.
        kernel: k of both convolutions; 3 in ERFNet.
        dilation: of the second convolution.
        dropout: probability of dropping a channel of the residual.

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int, kernel: int = 3, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = FactorisedConv(channels, kernel)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = FactorisedConv(channels, kernel, dilation)
        self.norm2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        residual = F.relu(self.norm1(self.conv1(x)))
        residual = self.dropout(self.norm2(self.conv2(residual)))
        return F.relu(x + residual)


class Downsampler(nn.Module):
    """Stride-2 convolution and max-pooling side by side, norm, ReLU (Sec. III.B).

    Shape:
        (N, c_in, H, W) -> (N, c_out, H/2, W/2)
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out - c_in, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        x = cat((self.conv(x), self.pool(x)), dim=1)  # (N, c_out, H/2, W/2)
        return F.relu(self.norm(x))


class Upsampler(nn.Module):
    """3 x 3 stride-2 deconvolution, norm, ReLU (Sec. III.B).

    Shape:
        (N, c_in, H, W) -> (N, c_out, 2H, 2W)
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(c_in, c_out, 3, stride=2, padding=1, output_padding=1)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.deconv(x)))


class ERFNet(nn.Module):
    """ERFNet (Table I).

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            Downsampler(3, 16),  # 1/2
            Downsampler(16, 64),  # 1/4
            *(NonBottleneck1D(64, dropout=0.03) for _ in range(5)),
            Downsampler(64, 128),  # 1/8
            *(NonBottleneck1D(128, dilation=d, dropout=0.3) for d in (2, 4, 8, 16, 2, 4, 8, 16)),
        )
        self.decoder = nn.Sequential(
            Upsampler(128, 64), NonBottleneck1D(64), NonBottleneck1D(64),  # 1/4
            Upsampler(64, 16), NonBottleneck1D(16), NonBottleneck1D(16),  # 1/2
            nn.ConvTranspose2d(16, 1, 2, stride=2),  # 1
        )

    def forward(self, image: Tensor) -> Tensor:
        require_image_batch(image)
        x = self.encoder(image)  # (N, 128, H/8, W/8)
        return self.decoder(x)  # (N, 1, H, W)
