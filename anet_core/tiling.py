"""A picture larger than a network is to see at once, from overlapping tiles of one size."""

from collections.abc import Callable
from itertools import pairwise, product

import numpy as np

from anet_core.network import MULTIPLE
from anet_core.prediction import pad_amounts
from data_prep.own import starts

OVERLAP = 64


def tiled(function: Callable[[np.ndarray], np.ndarray], image: np.ndarray, tile: int, overlap: int) -> np.ndarray:
    """The values of a picture's pixels, each taken from the tile in which it lies furthest from the border.

    A side of at most ``tile`` is not cut but padded by reflection to a multiple of 32, as ``prediction.predict`` does, so
    that a picture which is not cut gets just what the network says of it. All others make tiles of one size.

    Where a pixel depends on no other further away than overlap // 2, and on its place in the picture not at all, the cut
    picture gets the same values as the whole one. Of A-Net neither is true: it sees more than 400 pixels to either side, and
    its up-sampling, from corner to corner, shifts with the size of what it is given. So its masks depend on the size of the
    tiles, which is best that of the pictures it was trained on.

    Args:
        function: from uint8 (h, w, 3) to float32 (h, w).
        image: uint8 (H, W, 3).
        tile: side of the tiles, a multiple of 32.
        overlap: least number of pixels that neighbouring tiles share.

    Returns:
        float32 (H, W).

    Raises:
        ValueError: see ``require_tiles``.
    """
    require_tiles(tile, overlap)
    height, width = image.shape[:2]
    rows, columns = pad_amounts(min(height, tile), min(width, tile))  # nothing where the side is cut
    padded = np.pad(image, (rows, columns, (0, 0)), mode="reflect")
    values = np.empty(padded.shape[:2], np.float32)
    down, across = (spans(side, tile, overlap) for side in values.shape)
    for (top, above, below), (left, before, after) in product(down, across):
        part = function(padded[top : top + tile, left : left + tile])
        values[above:below, before:after] = part[above - top : below - top, before - left : after - left]
    return values[rows[0] : rows[0] + height, columns[0] : columns[0] + width]


def spans(side: int, tile: int, overlap: int) -> list[tuple[int, int, int]]:
    """For each tile along a side: where it begins, and the first and one past the last of the pixels that are taken from it."""
    begins = starts(side, tile, overlap)
    cuts = [0, *((before + tile + after) // 2 for before, after in pairwise(begins)), side]
    return list(zip(begins, cuts, cuts[1:]))


def require_tiles(tile: int, overlap: int) -> None:
    """Raise ValueError for a tile that is no multiple of 32, or an overlap that leaves nothing of it."""
    if tile < MULTIPLE or tile % MULTIPLE or not 0 <= overlap < tile:
        raise ValueError(
            f"tiles of {tile} that share {overlap} pixels are impossible; give a multiple of {MULTIPLE} and a smaller overlap."
        )
