"""Intervals for what a test set of a few dozen images can tell."""

import numpy as np

from anet_core.metrics import iou

RESAMPLES = 2000


def bootstrap_iou_pooled(record: dict, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the pooled IoU over resampled test images, in percent.

    It holds what another draw of as many test images would change, not another seed or split.
    """
    counts = np.array(list(record["confusion_images"].values()))  # (N, 3)
    images = np.random.default_rng(seed).integers(0, len(counts), (RESAMPLES, len(counts)))
    pooled = 100 * iou(counts[images].sum(1))  # (RESAMPLES, N, 3) -> (RESAMPLES,)
    low, high = np.percentile(pooled, (2.5, 97.5))
    return float(low), float(high)
