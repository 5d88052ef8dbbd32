"""What a trained network marks of a data set's pictures at several thresholds, to choose one by."""

import numpy as np
import pandas as pd

from anet_core.dataset import Samples
from anet_core.defects import without_specks
from anet_core.inference import Segmenter
from anet_core.metrics import confusion, iou
from anet_core.prediction import logit

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)  # on the probability


def at_thresholds(segmenter: Segmenter, samples: Samples, min_pixels: int = 1) -> pd.DataFrame:
    """Pooled over all pictures, in percent: a row a threshold.

    Args:
        min_pixels: connected regions of fewer marked pixels are taken for sound.

    Returns:
        columns IoU (Eq. 8); found, the defect pixels that are marked (recall); right, the marked pixels that are defect (precision);
        false alarms, the sound pictures with a marked pixel. Missing where there is nothing to divide by.
    """
    counts = np.zeros((len(THRESHOLDS), len(samples.ids), 3))  # TP, FN, FP
    for i, (image, mask) in enumerate(zip(samples.images, samples.masks)):
        logits, _ = segmenter.logits(image)
        masks = np.stack([without_specks(logits > logit(threshold), min_pixels) for threshold in THRESHOLDS])
        counts[:, i] = confusion(masks, np.broadcast_to(mask, masks.shape))
    hits, misses, alarms = counts.sum(1).T
    sound = ~samples.masks.any((1, 2))
    with np.errstate(invalid="ignore"):
        return pd.DataFrame({
            "IoU": 100 * iou(counts.sum(1)), "found": 100 * hits / (hits + misses), "right": 100 * hits / (hits + alarms),
            "false alarms": 100 * (counts[:, sound, 2] > 0).sum(1) / np.float64(sound.sum()),
        }, index=pd.Index(THRESHOLDS, name="threshold"))
