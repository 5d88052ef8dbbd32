import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from anet_core.metrics import confusion, iou, iou_image_mean, iou_pooled


@pytest.fixture
def masks():
    rng = np.random.default_rng(0)
    return rng.random((6, 9, 7)) < 0.4, rng.random((6, 9, 7)) < 0.3


def test_iou_agrees_with_scikit_learn(masks):
    prediction, mask = masks
    counts = confusion(prediction, mask)
    assert iou_pooled(counts) == pytest.approx(jaccard_score(mask.ravel(), prediction.ravel()), abs=1e-15)
    each = [jaccard_score(g.ravel(), p.ravel()) for p, g in zip(prediction, mask)]
    assert iou(counts) == pytest.approx(each, abs=1e-15)
    assert iou_image_mean(counts) == pytest.approx(np.mean(each), abs=1e-15)


def test_empty_masks():
    nothing, something = np.zeros((1, 4, 4), bool), np.ones((1, 4, 4), bool)
    assert iou_pooled(confusion(nothing, nothing)) == 1
    assert iou_pooled(confusion(something, nothing)) == 0
    assert iou_pooled(confusion(nothing, something)) == 0
    both = confusion(np.concatenate([nothing, something]), np.concatenate([nothing, nothing]))
    assert (iou_image_mean(both), iou_pooled(both)) == (0.5, 0)
