import cv2
import numpy as np

from anet_core.defects import ORANGE, overlay, regions

RNG = np.random.default_rng(0)


def test_regions_agree_with_opencv():
    for share in (0.02, 0.3, 0.6):
        mask = RNG.random((60, 90)) < share
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        expected = sorted(([x, y, x + w, y + h], n) for x, y, w, h, n in stats[1:].tolist())
        found = regions(mask)
        assert sorted((region["box"], region["pixels"]) for region in found) == expected
        sizes = [region["pixels"] for region in found]
        assert sizes == sorted(sizes, reverse=True) and sum(sizes) == mask.sum()


def test_a_sound_picture_has_no_region():
    assert regions(np.zeros((5, 7), bool)) == []


def test_the_overlay_changes_only_what_is_marked():
    image, mask = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8), RNG.random((20, 30)) < 0.4
    before, shown = image.copy(), overlay(image, mask)
    assert np.array_equal(image, before) and np.array_equal(shown[~mask], image[~mask])
    assert np.array_equal(shown[mask], (image[mask].astype(int) + ORANGE) // 2)
