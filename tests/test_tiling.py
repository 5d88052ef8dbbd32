import numpy as np
import pytest
import torch
from torch import nn

from anet_core import build
from anet_core.prediction import normalise, pad_amounts
from anet_core.tiling import tiled

RNG = np.random.default_rng(0)
REACH = 3  # pixels on either side that three 3x3 convolutions see


@pytest.fixture(scope="module")
def local():
    """A network of small reach, zero-padded as A-Net is, that computes in whole numbers, which float32 holds exactly."""
    torch.manual_seed(0)
    layers = nn.Sequential(*(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False) for c_in, c_out in ((3, 4), (4, 4), (4, 1))))
    for layer in layers:
        nn.init.uniform_(layer.weight, -2.99, 2.99).data.trunc_()

    def function(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return layers(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float())[0, 0].numpy()

    return function


def picture(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("height, width", [(64, 64), (40, 50), (1, 33), (64, 7)])
def test_up_to_a_tile_it_is_the_padded_picture_cropped(local, height, width):
    image = picture(height, width)
    rows, columns = pad_amounts(height, width)
    whole = local(np.pad(image, (rows, columns, (0, 0)), mode="reflect"))
    expected = whole[rows[0] : rows[0] + height, columns[0] : columns[0] + width]
    assert np.array_equal(tiled(local, image, tile=64, overlap=16), expected)


@pytest.mark.parametrize("height, width", [(65, 65), (200, 131), (64, 300), (96, 96)])
def test_a_network_whose_reach_is_in_the_overlap_does_not_notice_the_tiles(local, height, width):
    image = picture(height, width)
    assert np.array_equal(tiled(local, image, tile=64, overlap=2 * REACH), local(image))


def test_with_less_overlap_only_pixels_beside_a_cut_differ(local):
    image = picture(64, 320)
    different = np.flatnonzero((tiled(local, image, tile=64, overlap=0) != local(image)).any(0))
    cuts = np.arange(64, 320, 64)
    assert different.size and np.abs(different[:, None] + 0.5 - cuts).min(1).max() < REACH


@pytest.mark.parametrize("side, overlap", [(100, 0), (100, 40), (333, 10), (500, 63), (97, 5)])
def test_a_pixel_comes_from_the_tile_in_which_it_is_furthest_from_the_border(side, overlap):
    image = np.zeros((32, side, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(side) % 256, np.arange(side) // 256
    seen = []

    def distance(part: np.ndarray) -> np.ndarray:
        """Of each pixel to the next border of its tile that is not the picture's."""
        first, last = (int(part[0, k, 0]) + 256 * int(part[0, k, 1]) for k in (0, -1))
        seen.append(first)
        columns = np.arange(first, last + 1)
        left = columns - first if first else np.full(64, side)
        right = last - columns if last < side - 1 else np.full(64, side)
        return np.broadcast_to(np.minimum(left, right), part.shape[:2]).astype(np.float32)

    taken = tiled(distance, image, tile=64, overlap=overlap)[0]
    best = np.full(side, -1)
    for first in seen:
        columns = np.arange(first, first + 64)
        left, right = columns - first if first else side, first + 63 - columns if first + 64 < side else side
        best[columns] = np.maximum(best[columns], np.minimum(left, right))
    assert np.array_equal(taken, best) and taken.min() >= overlap // 2


def test_all_tiles_of_large_pictures_have_one_size():
    sizes = set()

    def function(part: np.ndarray) -> np.ndarray:
        sizes.add(part.shape)
        return np.zeros(part.shape[:2], np.float32)

    for height, width in ((65, 65), (300, 1000), (128, 127)):
        assert tiled(function, picture(height, width), tile=64, overlap=20).shape == (height, width)
    assert sizes == {(64, 64, 3)}


@pytest.mark.parametrize("tile, overlap", [(0, 0), (48, 0), (64, 64), (64, -1)])
def test_impossible_tiles(local, tile, overlap):
    with pytest.raises(ValueError, match=f"tiles of {tile} that share {overlap} pixels are impossible; give a multiple of 32"):
        tiled(local, picture(64, 64), tile, overlap)


def test_a_net_sees_further_than_any_overlap():
    """Why its tiles cannot give quite what the whole picture gives: a far pixel matters, and so does the picture's size."""
    torch.manual_seed(0)
    network = build("A-Net").eval()
    image = torch.from_numpy(picture(32, 1024)).permute(2, 0, 1)[None]
    pixels = normalise(image).requires_grad_()
    network(pixels)[0, 0, 16, 512].backward()
    reached = torch.nonzero(pixels.grad.abs().sum((0, 1, 2)))
    assert reached.min() < 512 - 400 and reached.max() > 512 + 400
