"""ResNet-18, -50 and -101 as backbones: the feature maps of the four stages.

K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, Table 1,
with the stride of a bottleneck in its 3x3 convolution. There is no classifier.
Initialisation: Kaiming's for every convolution (Sec. 3.4); the norms are PyTorch's, the paper is silent.
"""

from torch import Tensor, nn

from anet_core.peers.layers import conv_bn, conv_bn_relu


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (Fig. 5, left).

    Shape:
        (N, c_in, H, W) -> (N, width, H/stride, W/stride)
    """

    expansion = 1

    def __init__(self, c_in: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_bn_relu(c_in, width, 3, stride, dilation),
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False), nn.BatchNorm2d(width),
        )
        self.shortcut = shortcut(c_in, width, stride)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut (Fig. 5, right).

    Shape:
        (N, c_in, H, W) -> (N, 4 * width, H/stride, W/stride)
    """

    expansion = 4

    def __init__(self, c_in: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        c_out = self.expansion * width
        self.body = nn.Sequential(
            *conv_bn_relu(c_in, width, 1),
            *conv_bn_relu(width, width, 3, stride, dilation),
            *conv_bn(width, c_out),
        )
        self.shortcut = shortcut(c_in, c_out, stride)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.shortcut(x))


def shortcut(c_in: int, c_out: int, stride: int) -> nn.Module:
    """The identity, or a projection where the shape changes (Sec. 3.3, option B)."""
    if c_in == c_out and stride == 1:
        return nn.Identity()
    return conv_bn(c_in, c_out, stride=stride)


class ResNet(nn.Module):
    """Stem and four stages, each but the first halving the resolution with its first block.

    Args:
        block: BasicBlock or Bottleneck.
        depths: blocks of layer1 ... layer4.
        dilations: a stage named here (3 for layer3) keeps the resolution and gives its blocks these dilations.

    Shape:
        (N, 3, H, W) -> four maps of 64, 128, 256, 512 times block.expansion channels at 1/4, 1/8, 1/16, 1/32
        of the input size; a dilated stage has the size of the one before
    """

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, ...], dilations: dict[int, tuple[int, ...]]
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn_relu(3, 64, 7, stride=2), nn.MaxPool2d(3, stride=2, padding=1))
        self.stages = nn.ModuleList()
        c_in = 64
        for number, depth in enumerate(depths, start=1):
            width = 64 * 2 ** (number - 1)
            stride = 1 if number == 1 or number in dilations else 2
            blocks = []
            for dilation in dilations.get(number, depth * (1,)):
                blocks.append(block(c_in, width, stride, dilation))
                c_in, stride = block.expansion * width, 1
            self.stages.append(nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(image)  # (N, 64, H/4, W/4)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


def resnet18() -> ResNet:
    """Maps of 64, 128, 256, 512 channels at 1/4, 1/8, 1/16, 1/32."""
    return ResNet(BasicBlock, (2, 2, 2, 2), {})


def resnet50(dilations: dict[int, tuple[int, ...]]) -> ResNet:
    """Maps of 256, 512, 1024, 2048 channels; see ResNet for the dilations and the sizes."""
    return ResNet(Bottleneck, (3, 4, 6, 3), dilations)


def resnet101(dilations: dict[int, tuple[int, ...]]) -> ResNet:
    """Maps of 256, 512, 1024, 2048 channels; see ResNet for the dilations and the sizes."""
    return ResNet(Bottleneck, (3, 4, 23, 3), dilations)
