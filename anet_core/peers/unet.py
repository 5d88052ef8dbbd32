"""U-Net: contracting path, expanding path, and a copy of each resolution from one to the other.

O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015. Variant: padded convolutions with batch norm, and a 1x1 convolution on each copy.
Initialisation: the paper's, N(0, 2/n) with n the incoming nodes of one neuron (Sec. 3).
Dropout: at the end of the contracting path (Sec. 3.1); the paper gives no rate, here nn.Dropout's 0.5.
"""

from torch import Tensor, cat, nn

from anet_core.network import require_image_batch
from anet_core.peers.vgg import vgg_stage


class ExpandingStep(nn.Module):
    """Up-convolution that halves the channels, concatenation with the copy, two 3x3 convolutions (Sec. 2).

    Args:
        channels: C of the copy and of the output.

    Shape:
        (N, 2C, H, W) and the copy (N, C, 2H, 2W) -> (N, C, 2H, 2W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
        self.copy = nn.Conv2d(channels, channels, 1)
        self.fuse = vgg_stage(2 * channels, (channels, channels), batch_norm=True)

    def forward(self, x: Tensor, copy: Tensor) -> Tensor:
        return self.fuse(cat((self.copy(copy), self.up(x)), dim=1))


class UNet(nn.Module):
    """U-Net (Sec. 2, Fig. 1), its size kept by padding.

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32
    """

    def __init__(self) -> None:
        super().__init__()
        self.contracting = nn.ModuleList([
            vgg_stage(3, (64, 64), batch_norm=True), vgg_stage(64, (128, 128), batch_norm=True),
            vgg_stage(128, (256, 256), batch_norm=True), vgg_stage(256, (512, 512), batch_norm=True),
            vgg_stage(512, (1024, 1024), batch_norm=True),
        ])
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout()
        self.expanding = nn.ModuleList([ExpandingStep(512), ExpandingStep(256), ExpandingStep(128), ExpandingStep(64)])
        self.classifier = nn.Conv2d(64, 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.ConvTranspose2d):  # at stride 2, one 2x2 tap reaches each output
                nn.init.normal_(module.weight, std=(2 / module.in_channels) ** 0.5)

    def forward(self, image: Tensor) -> Tensor:
        require_image_batch(image)
        copies = [self.contracting[0](image)]
        for stage in self.contracting[1:]:
            copies.append(stage(self.pool(copies[-1])))
        x = self.dropout(copies.pop())  # (N, 1024, H/16, W/16)
        for step in self.expanding:
            x = step(x, copies.pop())
        return self.classifier(x)  # (N, 1, H, W)
