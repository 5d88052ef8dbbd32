"""QuarterNet: an extension of ours, not a network of the paper. A-Net without what it does above a quarter of the picture's size."""

from torch import nn

from anet_core.blocks import DepthToSpace, LightBlock, WideBlock
from anet_core.network import ANet

SIDE = 4  # of the block of pixels that one position of the features stands for
CHANNELS = 64  # of A-Net's S2


class QuarterNet(ANet):
    """A-Net from S2 down: one convolution in place of S1, and one in place of the last Up block and all behind it.

    The first reads 8x8 pixels every 4, so that neighbouring blocks overlap; the last predicts the 16 pixels of
    a block at once from 3x3 positions (sub-pixel convolution, Shi et al. 2016). What lies between is A-Net's, the jump connection too.

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32

    Raises:
        ValueError: as A-Net does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.detail_extraction = nn.Sequential(
            nn.Conv2d(3, CHANNELS, 2 * SIDE, stride=SIDE, padding=SIDE // 2, bias=False), nn.BatchNorm2d(CHANNELS), nn.PReLU(),
            LightBlock(CHANNELS), WideBlock(CHANNELS),  # S2: 56 for 224
        )
        self.detail_fusion = WideBlock(CHANNELS)  # S2: 56
        self.head = nn.Sequential(
            nn.Conv2d(CHANNELS, SIDE**2, 3, padding=1),  # with bias: no norm follows it
            DepthToSpace(SIDE, SIDE),  # 224
        )
