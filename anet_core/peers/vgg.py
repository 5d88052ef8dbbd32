"""The 13 convolutions of VGG16: the encoder of SegNet and of PGANet.

K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
ICLR 2015 (configuration D of Table 1, without its fully connected layers).
"""

from torch import nn

VGG16_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg_stage(c_in: int, widths: tuple[int, ...], batch_norm: bool) -> nn.Sequential:
    """3x3 convolutions with bias, each with ReLU, at one resolution: (N, c_in, H, W) -> (N, widths[-1], H, W)."""
    layers: list[nn.Module] = []
    for c_out in widths:
        layers.append(nn.Conv2d(c_in, c_out, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(c_out))
        layers.append(nn.ReLU(inplace=True))
        c_in = c_out
    return nn.Sequential(*layers)


def vgg16_stages(batch_norm: bool) -> nn.ModuleList:
    """The five stages of VGG16 from 3 to 512 channels; a 2x2 max-pooling follows each, where they are used."""
    inputs = (3, 64, 128, 256, 512)
    return nn.ModuleList(vgg_stage(c_in, widths, batch_norm) for c_in, widths in zip(inputs, VGG16_WIDTHS))
