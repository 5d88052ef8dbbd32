"""Layers that several of the peer networks share."""

from torch import Tensor, nn
from torch.nn import functional as F


def conv_bn_relu(c_in: int, c_out: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Bias-free convolution, batch norm, ReLU; padded so that stride 1 keeps the size."""
    padding = dilation * (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)
    )


def conv_bn(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Bias-free convolution and batch norm, padded so that stride 1 keeps the size."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(c_out)
    )


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear interpolation of x to the height and width of another tensor (corners not aligned)."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
