"""Intersection over union (Eq. 8), pooled over a test set and as a mean over its images."""

import numpy as np


def confusion(prediction: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """True positives, false negatives and false positives of each image.

    Args:
        prediction, mask: boolean (N, H, W).

    Returns:
        integers (N, 3): TP, FN, FP.
    """
    return np.stack([
        (prediction & mask).sum((1, 2)), (~prediction & mask).sum((1, 2)), (prediction & ~mask).sum((1, 2)),
    ], axis=1)


def iou(counts: np.ndarray) -> np.ndarray:
    """Eq. 8, TP / (TP + FN + FP), along the last axis of ``confusion``'s counts; in [0, 1].

    Where mask and prediction are both empty nothing was missed and nothing invented: 1.
    """
    true_positives, union = counts[..., 0], counts.sum(-1)
    return np.where(union == 0, 1.0, true_positives / np.maximum(union, 1))


def iou_pooled(counts: np.ndarray) -> float:
    """Eq. 8 with TP, FN and FP summed over all images: each pixel weighs the same."""
    return float(iou(counts.sum(0)))


def iou_image_mean(counts: np.ndarray) -> float:
    """The mean of Eq. 8 over the images: each image weighs the same."""
    return float(iou(counts).mean())
