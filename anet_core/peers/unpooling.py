"""2x2 max-unpooling made of comparisons, which every export format knows.

Equal to ``nn.MaxPool2d(2, return_indices=True)`` followed by ``nn.MaxUnpool2d(2)``, also where a window
holds its maximum more than once (the zeros of a ReLU): both take the first in row-major order.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def max_positions(x: Tensor) -> Tensor:
    """Where each 2x2 window of x holds its first maximum: 0 1 in its upper row, 2 3 in its lower one.

    Shape:
        (N, C, 2H, 2W) -> (N, C, H, W), int32
    """
    upper_left, upper_right = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    lower_left, lower_right = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    in_upper = (upper_right > upper_left).int()
    in_lower = 2 + (lower_right > lower_left).int()
    lower_wins = torch.maximum(lower_left, lower_right) > torch.maximum(upper_left, upper_right)
    return torch.where(lower_wins, in_lower, in_upper)


def max_unpool(y: Tensor, positions: Tensor) -> Tensor:
    """Each value of y at its position of a 2x2 window that is zero elsewhere.

    Shape:
        (N, C, H, W) and positions (N, C, H, W) -> (N, C, 2H, 2W)
    """
    windows = torch.stack([torch.where(positions == k, y, 0.0) for k in range(4)], dim=2)  # (N, C, 4, H, W)
    return F.pixel_shuffle(windows.flatten(1, 2), 2)
