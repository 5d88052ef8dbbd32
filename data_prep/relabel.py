"""From boxes to masks: what in the boxes of a picture stands out from the steel around them.

The proposal is classical: the steel's own grey level, taken from outside the boxes, is subtracted, and what
remains inside them is cut in two, by Otsu's threshold (IEEE Transactions on Systems, Man and Cybernetics 1979) or by
GrabCut (Rother, Kolmogorov and Blake, ACM Transactions on Graphics 2004) starting from it. Whether a defect is darker
or brighter than its surroundings is said by whoever asks: a person knows it of a class at a glance.

Method and default parameters were chosen on the 750 training pictures of split 0 of the three NEU sets. That of scratches
was drawn again later, when more overlaps were found, so some of its test pictures are among them. Before that,
ways that do not ask whether a defect is dark or bright had been dropped, by training and test pictures whose numbers are odd.
"""

import cv2
import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects, label

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels from 0; right and bottom are one past the last
SMOOTHING, BACKGROUND = 1.5, 40.0  # standard deviations in pixels of the Gaussians that take away grain and uneven light


def propose(image: np.ndarray, boxes: list[Box], dark: bool = True, method: str = "grabcut") -> tuple[np.ndarray, float]:
    """The mask of the defects in the boxes of a picture, and how far to trust it.

    Args:
        image: grey levels, uint8 (H, W).
        boxes: where the defects are, all boxes of the picture.
        dark: defects are darker than what surrounds them; otherwise brighter.
        method: one of METHODS.

    Returns:
        the mask, bool (H, W), never empty: the boxes themselves where nothing stands out; and ``separation`` in [0, 1].

    Raises:
        ValueError: unknown method, another type of image, no box, or a box that holds no pixel of the picture.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}.")
    if image.dtype != np.uint8 or image.ndim != 2:
        raise ValueError(f"the picture is {image.dtype} {image.shape}; give grey levels, uint8 (H, W).")
    inside = fill(boxes, image.shape)
    contrast = stand_out(image, inside, dark)
    mask = METHODS[method](contrast, inside)
    return (mask, separation(contrast, mask, inside)) if mask.any() else (inside, 0.0)


def fill(boxes: list[Box], shape: tuple[int, int]) -> np.ndarray:
    """Where the boxes are, bool (H, W); ValueError where there is none or one holds no pixel of the picture."""
    if not boxes:
        raise ValueError("there is no box; a picture without a defect needs no proposal.")
    inside = np.zeros(shape, bool)
    for left, top, right, bottom in boxes:
        if not (0 <= left < right <= shape[1] and 0 <= top < bottom <= shape[0]):
            raise ValueError(f"the box {left, top, right, bottom} is empty or not inside a picture of {shape[1]}x{shape[0]}.")
        inside[top:bottom, left:right] = True
    return inside


def stand_out(image: np.ndarray, inside: np.ndarray, dark: bool) -> np.ndarray:
    """How far each pixel is on the defect's side of the steel around the boxes, in grey levels, float32 (H, W)."""
    grey = image.astype(np.float32)
    outside = np.where(inside, 1e-3, 1).astype(np.float32)  # not 0: a box as large as the picture is its own background
    steel = cv2.GaussianBlur(grey * outside, (0, 0), BACKGROUND) / cv2.GaussianBlur(outside, (0, 0), BACKGROUND)
    contrast = cv2.GaussianBlur(grey, (0, 0), SMOOTHING) - steel
    return -contrast if dark else contrast


def box(contrast: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The boxes themselves: the least that any method has to beat."""
    return inside


def threshold(contrast: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Otsu's threshold on the contrast of all boxes of the picture."""
    values = contrast[inside]
    low, span = values.min(), np.ptp(values)
    if span == 0:
        return np.zeros_like(inside)
    level, _ = cv2.threshold(np.uint8(255 * (values - low) / span), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return inside & (contrast > low + level / 255 * span)


def grabcut(contrast: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """GrabCut on the contrast, started from ``threshold``; outside the boxes is sound for certain."""
    start = threshold(contrast, inside)
    if not start.any():
        return start
    labels = np.where(inside, np.where(start, cv2.GC_PR_FGD, cv2.GC_PR_BGD), cv2.GC_BGD).astype(np.uint8)
    picture = np.repeat(np.clip(128 + 2 * contrast, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    cv2.setRNGSeed(0)  # its k-means draws
    cv2.grabCut(picture, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK)
    mask = labels == cv2.GC_PR_FGD
    return mask if mask.any() else start  # where the boxes hold little else, the cut may take all for steel


def separation(contrast: np.ndarray, mask: np.ndarray, inside: np.ndarray) -> float:
    """Confidence: the part of the contrast's variance in the boxes that lies between mask and rest; in [0, 1].

    This is what Otsu's threshold makes largest (his eta). 0 for a mask that fills the boxes: nothing was told apart.
    """
    values, chosen = contrast[inside].astype(np.float64), mask[inside]
    if chosen.all() or not values.var():
        return 0.0
    share = chosen.mean()
    return float(share * (1 - share) * (values[chosen].mean() - values[~chosen].mean()) ** 2 / values.var())


METHODS = {"grabcut": grabcut, "threshold": threshold, "box": box}


def component_boxes(mask: np.ndarray) -> list[Box]:
    """The box around each connected part of a mask, bool (H, W); pixels that touch at a corner are connected."""
    parts = find_objects(label(mask, np.ones((3, 3)))[0])
    return [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in parts]


def boundary_f1(proposal: np.ndarray, mask: np.ndarray, tolerance: float = 2) -> float:
    """Harmonic mean of the shares of either outline that lie within ``tolerance`` pixels of the other; in [0, 1].

    Where the picture ends is no outline. Two masks without an outline agree: 1. (Csurka et al., BMVC 2013.)

    Args:
        proposal, mask: bool (H, W).
    """
    ours, theirs = (area & ~binary_erosion(area, border_value=True) for area in (proposal, mask))
    if not (ours.any() and theirs.any()):
        return float(ours.any() == theirs.any())
    precision = (distance_transform_edt(~theirs)[ours] <= tolerance).mean()
    recall = (distance_transform_edt(~ours)[theirs] <= tolerance).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0
