"""TopFormer-Small.

W. Zhang, Z. Huang, G. Luo, T. Chen, X. Wang, W. Liu, G. Yu, C. Shen: TopFormer: Token Pyramid Transformer for
Mobile Semantic Segmentation, CVPR 2022. Section and figure numbers below are those of that paper.
Dropout of 0.1 before the classifier. Initialisation and norm momentum: PyTorch's; the paper is silent.
"""

import torch
from torch import Tensor, cat, nn

from anet_core.network import require_image_batch
from anet_core.peers.layers import conv_bn, conv_bn_relu, resize


class InvertedResidual(nn.Module):
    """MobileNetV2 block: expand, depthwise, project; a residual where the shape stays (Sec. 3.1).

    Args:
        kernel, expansion: k and t of the depthwise convolution and of its width.

    Shape:
        (N, c_in, H, W) -> (N, c_out, H / stride, W / stride)
    """

    def __init__(self, c_in: int, kernel: int, expansion: int, c_out: int, stride: int) -> None:
        super().__init__()
        expanded = expansion * c_in
        expand = [conv_bn_relu(c_in, expanded, 1)] if expansion > 1 else []
        self.body = nn.Sequential(
            *expand,
            conv_bn(expanded, expanded, kernel, stride, groups=expanded), nn.ReLU(inplace=True),
            conv_bn(expanded, c_out),
        )
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class TokenPyramid(nn.Module):
    """Token pyramid module (Sec. 3.1), in the widths of Small.

    Shape:
        (N, 3, H, W) -> the four tokens: 24 channels at 1/4, 48 at 1/8, 96 at 1/16, 128 at 1/32
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([
            nn.Sequential(
                conv_bn_relu(3, 16, 3, stride=2), InvertedResidual(16, 3, 1, 16, 1),
                InvertedResidual(16, 3, 4, 24, 2), InvertedResidual(24, 3, 3, 24, 1),
            ),
            nn.Sequential(InvertedResidual(24, 5, 3, 48, 2), InvertedResidual(48, 5, 3, 48, 1)),
            nn.Sequential(InvertedResidual(48, 3, 3, 96, 2), InvertedResidual(96, 3, 3, 96, 1)),
            nn.Sequential(
                InvertedResidual(96, 5, 6, 128, 2), InvertedResidual(128, 5, 6, 128, 1),
                InvertedResidual(128, 3, 6, 128, 1),
            ),
        ])

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [image]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]


def windows(size: int, bins: int, like: Tensor) -> Tensor:
    """Adaptive average pooling of one axis as a matrix (bins, size), on the device of another tensor.

    Bin b averages floor(b * size / bins) to ceil((b + 1) * size / bins): windows overlap where bins does not divide
    size, as at 224x224.
    """
    position = torch.arange(size, device=like.device)
    b = torch.arange(bins, device=like.device)[:, None]
    start, end = b * size // bins, ((b + 1) * size + bins - 1) // bins
    inside = ((position >= start) & (position < end)).to(like.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


def average_pool(x: Tensor, height: int, width: int) -> Tensor:
    """Adaptive average pooling, (N, C, H, W) -> (N, C, height, width), as two products that any runtime has."""
    return windows(x.shape[2], height, x) @ x @ windows(x.shape[3], width, x).T


class Attention(nn.Module):
    """Multi-head self-attention of 1x1 convolutions, keys narrower than values, not scaled (Sec. 3.2), in the widths of Small.

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads, key, value = 6, 16, 32
        self.query = conv_bn(channels, self.heads * key)
        self.key = conv_bn(channels, self.heads * key)
        self.value = conv_bn(channels, self.heads * value)
        self.project = nn.Sequential(nn.ReLU6(inplace=True), conv_bn(self.heads * value, channels))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        q, k, v = (
            layer(x).flatten(2).unflatten(1, (self.heads, -1)) for layer in (self.query, self.key, self.value)
        )  # (N, heads, key or value, T) with T = H * W tokens
        attention = (q.transpose(2, 3) @ k).softmax(dim=3)  # (N, heads, T, T)
        x = v @ attention.transpose(2, 3)  # (N, heads, value, T)
        return self.project(x.flatten(1, 2).unflatten(2, (height, width)))


class TransformerBlock(nn.Module):
    """Self-attention and a feed-forward network with a depthwise 3x3 inside, both residual (Sec. 3.2).

    Shape:
        (N, C, H, W) -> (N, C, H, W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.attention = Attention(channels)
        self.feed_forward = nn.Sequential(
            conv_bn(channels, hidden),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden), nn.ReLU6(inplace=True),
            conv_bn(hidden, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.feed_forward(x)


class SemanticsInjection(nn.Module):
    """Semantics injection module: global semantics gate a local token and are added to it (Sec. 3.3).

    Shape:
        token (N, c_in, H, W), semantics (N, c_in, h, w) -> (N, c_out, H, W)
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.local = conv_bn(c_in, c_out)
        self.gate = conv_bn(c_in, c_out)
        self.relu6 = nn.ReLU6()
        self.semantics = conv_bn(c_in, c_out)

    def forward(self, token: Tensor, semantics: Tensor) -> Tensor:
        gate = resize(self.relu6(self.gate(semantics) + 3) / 6, token)  # hard sigmoid
        return self.local(token) * gate + resize(self.semantics(semantics), token)


class TopFormer(nn.Module):
    """TopFormer-Small (Fig. 2).

    Shape:
        (N, 3, H, W) -> (N, 1, H, W) logits; H and W multiples of 32
    """

    def __init__(self) -> None:
        super().__init__()
        self.widths = (24, 48, 96, 128)
        self.pyramid = TokenPyramid()
        self.transformer = nn.Sequential(*(TransformerBlock(sum(self.widths)) for _ in range(4)))
        self.injections = nn.ModuleList([SemanticsInjection(width, 192) for width in self.widths[1:]])
        self.fuse = nn.Sequential(conv_bn_relu(192, 192, 1), nn.Dropout2d(0.1))
        self.classifier = nn.Conv2d(192, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        require_image_batch(image)
        tokens = self.pyramid(image)  # 24, 48, 96, 128 channels at 1/4, 1/8, 1/16, 1/32
        height, width = ((side + 63) // 64 for side in image.shape[2:])  # ceil(H/64), ceil(W/64)
        x = cat([average_pool(token, height, width) for token in tokens], dim=1)  # (N, 296, height, width)
        semantics = self.transformer(x).split(self.widths, dim=1)  # one part a token
        levels = [inject(t, s) for inject, t, s in zip(self.injections, tokens[1:], semantics[1:])]  # 192 each
        x = self.fuse(sum(resize(level, levels[0]) for level in levels))  # (N, 192, H/8, W/8)
        return resize(self.classifier(x), image)  # (N, 1, H, W)
