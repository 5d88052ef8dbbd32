"""The training loss: Dice + 0.5 BCE from logits (Eq. 6-7)."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

EPSILON = 1.0  # Eq. 7's epsilon, in squared probabilities summed over pixels; the paper gives no value
BCE_WEIGHT = 0.5  # Eq. 6
REDUCTIONS = ("image", "batch")


def dice_loss(logits: Tensor, mask: Tensor, reduction: str) -> Tensor:
    """Eq. 7: 1 - (2 sum(p g) + epsilon) / (sum(p^2) + sum(g^2) + epsilon), p = sigmoid(logits).

    Args:
        logits: (N, 1, H, W) of any real values.
        mask: (N, 1, H, W) of 0 and 1, the paper's g_d.
        reduction: "image", the sums run over each image and the losses are averaged, as Eq. 7 is
            written; "batch", the sums run over all pixels of the batch.

    Returns:
        A scalar in [0, 1]. Of an empty mask it is sum(p^2) / (sum(p^2) + epsilon): near 0 only where sum(p^2) is far below epsilon.

    Raises:
        ValueError: for another reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown loss reduction {reduction!r}; known: {', '.join(REDUCTIONS)}.")
    p = logits.sigmoid()
    pixels = (1, 2, 3) if reduction == "image" else (0, 1, 2, 3)
    overlap = (p * mask).sum(pixels)
    size = p.square().sum(pixels) + mask.square().sum(pixels)
    return (1 - (2 * overlap + EPSILON) / (size + EPSILON)).mean()


def segmentation_loss(logits: Tensor, mask: Tensor, reduction: str) -> Tensor:
    """Eq. 6: L_dice + 0.5 L_bce, with L_bce the mean over pixels, computed in the log domain.

    Half-precision logits are summed in float32. Arguments and errors as in ``dice_loss``.
    """
    if logits.dtype.itemsize < 4:
        logits = logits.float()
    return dice_loss(logits, mask, reduction) + BCE_WEIGHT * binary_cross_entropy_with_logits(logits, mask)
