"""What a mask says about a part: where its defects are and how large, in numbers and as a picture."""

import numpy as np
from scipy.ndimage import find_objects, label

ORANGE = (230, 97, 0)  # told apart from grey steel, and by people who do not see red or green


def regions(mask: np.ndarray) -> list[dict]:
    """The connected regions of a mask, bool (H, W), the largest first; pixels that touch at a corner are connected.

    Returns:
        for each its "box" [left, top, right, bottom], in pixels from 0, right and bottom one past the last, and its
        number of "pixels".
    """
    labels, _ = label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    boxes = [[columns.start, rows.start, columns.stop, rows.stop] for rows, columns in find_objects(labels)]
    found = [{"box": box, "pixels": int(size)} for box, size in zip(boxes, sizes)]
    return sorted(found, key=lambda region: -region["pixels"])


def without_specks(mask: np.ndarray, least: int) -> np.ndarray:
    """A mask, bool (H, W), without its connected regions of fewer pixels."""
    if least <= 1:
        return mask
    labels, _ = label(mask, structure=np.ones((3, 3)))
    return mask & (np.bincount(labels.ravel()) >= least)[labels]


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A picture, uint8 (H, W, 3), whose pixels under the mask, bool (H, W), are half orange."""
    marked = image.copy()
    marked[mask] = (image[mask] + np.array(ORANGE)) // 2
    return marked
