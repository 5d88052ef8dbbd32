import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from data_prep import neu, synthetic
from data_prep.decode import open_picture
from data_prep.overlap import SAME, SHARE, groups, high_pass, overlaps, read_overlaps, transform

STEEL = Path(os.environ.get("ANET_DATA", "")) / neu.SOURCE


def texture(seed: int, height: int = 200, width: int = 200) -> np.ndarray:
    """Grain a few pixels wide, uint8."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width))
    return synthetic.smooth(noise, 2).astype(np.uint8)


def put(cut: np.ndarray, quarter_turns: int, mirrored: bool) -> np.ndarray:
    """The picture that ``transform`` brings back to the cut."""
    turned = np.rot90(cut, -quarter_turns)
    return turned[:, ::-1] if mirrored else turned


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarter_turns", range(4))
def test_cuts_of_one_surface_are_found_where_they_overlap(quarter_turns, mirrored):
    """For instance with other light on one of them."""
    surface = texture(0)
    a, cut = surface[3:103, 40:140], surface[40:140, 17:117]
    b = put(0.8 * cut + 30, quarter_turns, mirrored).astype(np.uint8)
    [pair] = overlaps(np.stack([texture(1, 100, 100), a, texture(2, 100, 100), b]))
    assert (pair.a, pair.b, pair.quarter_turns, pair.mirrored, pair.dy, pair.dx) == (1, 3, quarter_turns, mirrored, 37, -23)
    assert pair.share == pytest.approx(0.63 * 0.77) and pair.correlation >= SAME
    brought_back = transform(b, quarter_turns, mirrored)
    assert (brought_back[:63, 23:] == (0.8 * a[37:, :77] + 30).astype(np.uint8)).all()


def test_search_agrees_with_trying_every_shift():
    surface, n = texture(3, 60, 60), 30
    corners = [(0, 0), (11, 7), (25, 2), (16, 30)]
    pictures = np.stack([*(surface[y : y + n, x : x + n] for y, x in corners), texture(4, n, n)])
    found = {(pair.a, pair.b): (pair.dy, pair.dx) for pair in overlaps(pictures)}
    full, expected = [high_pass(picture, 15) for picture in pictures], {}
    for a, b in combinations(range(len(pictures)), 2):
        best = max(
            (correlation(full[a], full[b], dy, dx), dy, dx)
            for dy in range(1 - n, n) for dx in range(1 - n, n) if (n - abs(dy)) * (n - abs(dx)) >= SHARE * n * n
        )
        if best[0] >= SAME:
            expected[a, b] = best[1:]
    assert found == expected


def correlation(a: np.ndarray, b: np.ndarray, dy: int, dx: int) -> float:
    H, W = a.shape
    ours = a[max(0, dy) : H + min(0, dy), max(0, dx) : W + min(0, dx)]
    theirs = b[max(0, -dy) : H - max(0, dy), max(0, -dx) : W - max(0, dx)]
    return float((ours * theirs).sum() / np.sqrt((ours**2).sum() * (theirs**2).sum()))


def test_streaks_do_not_hide_where_two_cuts_overlap():
    """Along streaks many shifts correlate nearly as well as the right one."""
    grain = synthetic.smooth(np.random.default_rng(17).integers(-80, 81, (300, 300)), 2)
    streaks = synthetic.smooth(np.random.default_rng(18).integers(-100, 101, (1, 300)), 2)
    surface = (128 + grain + streaks).clip(0, 255)
    [pair] = overlaps(np.stack([surface[:200, :200], surface[94:294, 38:238]]))
    assert (pair.dy, pair.dx, pair.quarter_turns, pair.mirrored) == (94, 38, 0, False)


def test_pictures_that_are_not_square_are_turned_by_half_turns_only():
    surface = texture(5)
    first, second = surface[:60, :130], surface[20:80, 30:160]
    [pair] = overlaps(np.stack([first, put(second, 2, False)]))
    assert (pair.quarter_turns, pair.mirrored, pair.dy, pair.dx) == (2, False, 20, 30)


@pytest.mark.parametrize("pictures", [
    pytest.param(np.stack([texture(seed, 100, 100) for seed in range(7, 12)]), id="different surfaces"),
    pytest.param(np.full((3, 100, 100), 128, np.uint8), id="constant"),
    pytest.param(np.stack([texture(12)[:100, :100], texture(12)[75:175, 75:175]]), id="a sixteenth in common"),
    pytest.param(texture(15)[None], id="a single picture"),
])
def test_what_does_not_overlap_is_not_found(pictures):
    assert overlaps(pictures) == []


def test_pictures_of_a_few_pixels():
    [pair] = overlaps(np.stack([texture(13, 9, 9), texture(14, 9, 9), texture(13, 9, 9)]))
    assert (pair.a, pair.b, pair.dy, pair.dx, pair.share) == (0, 2, 0, 0, 1)


def test_progress_passes_every_step_on():
    steps = []

    def progress(iterable):
        for step in iterable:
            steps.append(step)
            yield step

    surface = texture(16)
    pictures = np.stack([surface[i : i + 100, : 100] for i in (0, 10, 20)])
    assert overlaps(pictures, progress=progress) == overlaps(pictures)
    assert len(steps) == 8 * 2  # symmetries, and pictures that have one after them


def test_groups_join_chains():
    assert groups(6, [(0, 2), (4, 5), (2, 3)]) == [0, 1, 0, 0, 4, 4]
    assert groups(4, [(2, 3), (0, 1), (1, 2)]) == [0, 0, 0, 0]


@pytest.mark.skipif(not STEEL.is_dir(), reason="the steel pictures are not under ANET_DATA")
@pytest.mark.parametrize("name", neu.PREFIXES)
def test_the_table_of_overlaps_is_what_the_search_finds(name):
    """On the first pictures of each class; the table has correlations to four digits, shares to three."""
    ids = [f"{neu.prefix(name)}_{number}" for number in range(1, 21)]
    pictures = np.stack([np.asarray(open_picture(STEEL / "Source Images" / f"{key}.bmp").convert("L")) for key in ids])
    found, table = overlaps(pictures), read_overlaps(neu.OVERLAPS, ids)
    exact = ("a", "b", "quarter_turns", "mirrored", "dy", "dx")
    assert [[getattr(pair, key) for key in exact] for pair in found] == [[getattr(pair, key) for key in exact] for pair in table]
    assert [pair.correlation for pair in found] == pytest.approx([pair.correlation for pair in table], abs=6e-5)
    assert [pair.share for pair in found] == pytest.approx([pair.share for pair in table], abs=6e-4)
    assert table
