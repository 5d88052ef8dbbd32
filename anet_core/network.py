"""A-Net (Sec. III, Fig. 3, Table I) and the six rows of its ablation (Table II)."""

from functools import partial

from torch import Tensor, nn

from anet_core.blocks import (
    CatBlock, DownBlock, LightBlock, NoJump, SegHead, SumLast, UpBlock, WideBlock, plain, plain_head,
)

MULTIPLE = 32  # of the sides of a picture: the resolution is halved five times


class ANet(nn.Module):
    """A-Net, or without some of its components; the rows of Table II are ``registry.ABLATION``.

    Args:
        light: Light blocks; else one 3x3 convolution each.
        wide: Wide blocks; else one 5x5 convolution each.
        jump: the jump connection at 1/4 of the input size.
        seg_head: the seg head; else one deconvolution.
        activated: see ``blocks.plain``.

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32

    Raises:
        ValueError: when called with another size or another number of channels.
    """

    def __init__(self, light: bool = True, wide: bool = True, jump: bool = True, seg_head: bool = True, activated: bool = False) -> None:
        super().__init__()
        L = LightBlock if light else partial(plain, 3, activated=activated)
        W = WideBlock if wide else partial(plain, 5, activated=activated)
        # Each stage opens with a Down or Up block; sizes are those of a 224x224 input.
        self.detail_extraction = nn.Sequential(
            DownBlock(3, 8, 32), L(32), W(32),  # S1: 112
            DownBlock(32, 16, 64), L(64), W(64),  # S2: 56, where the jump connection leaves
        )
        self.semantic_extraction = nn.Sequential(
            DownBlock(64, 32, 128), L(128), W(128),  # S3: 28
            DownBlock(128, 32, 128), L(128), W(128), L(128), W(128),  # S4: 14
            DownBlock(128, 32, 128), L(128), W(128), L(128), W(128),  # S5: 7
        )
        self.semantic_fusion = nn.Sequential(
            UpBlock(128, 32, 128), L(128), W(128),  # S4: 14
            UpBlock(128, 32, 128), L(128), W(128),  # S3: 28
            UpBlock(128, 16, 64),  # S2: 56, where the jump connection arrives
        )
        self.cat = CatBlock(64, L(64)) if jump else NoJump(L(64))
        self.detail_fusion = nn.Sequential(
            W(64),  # S2: 56
            UpBlock(64, 8, 32), L(32), W(32),  # S1: 112
        )
        self.head = SegHead(32) if seg_head else plain_head(32)  # 224

    def forward(self, image: Tensor) -> Tensor:
        require_image_batch(image)
        detail = self.detail_extraction(image)  # (N, 64, H/4, W/4)
        semantic = self.semantic_extraction(detail)  # (N, 128, H/32, W/32)
        x = self.semantic_fusion(semantic)  # (N, 64, H/4, W/4)
        x = self.cat(detail, x)  # (N, 64, H/4, W/4)
        x = self.detail_fusion(x)  # (N, 32, H/2, W/2)
        return self.head(x)  # (N, 1, H, W)


def sum_last() -> ANet:
    """A-Net of the same first weights whose Light and Wide blocks are ``blocks.SumLast``."""
    network = ANet()
    for parent in list(network.modules()):
        for name, block in parent.named_children():
            if isinstance(block, (LightBlock, WideBlock)):
                setattr(parent, name, SumLast(block))
    return network


def require_image_batch(image: Tensor) -> None:
    """Raise ValueError unless image is (N, 3, H, W) with H and W multiples of 32."""
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[1] != 3:
        raise ValueError(f"the input has shape {shape}; the network takes (N, 3, H, W), grey images repeated to three channels.")
    height, width = shape[2:]
    if height % MULTIPLE or width % MULTIPLE or not height or not width:
        raise ValueError(
            f"the input is {height}x{width}; height and width must be multiples of {MULTIPLE} "
            "(anet_core.predict pads any picture by itself)."
        )
