"""Which pictures show the same surface: cuts of one photograph that overlap, copies, turned and mirrored ones.

The steel pictures of NEU are cut from larger photographs, and many of the cuts overlap. A split by chance then tests
on steel that was trained on, so ``format.split`` keeps such pictures together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

SHARE = 0.1  # least part of a picture that two must have in common: less holds too little to tell
SAME = 0.95  # least correlation there
SIDE = 50  # of the small copies, in pixels, on which pairs are looked for
SCREENED = 0.6  # least correlation there: a shift is then off by up to half a coarse pixel
PEAKS = 3  # shifts of a pair that are looked at in full size


@dataclass(frozen=True)
class Overlap:
    """Two pictures, by index, that show the same surface.

    Picture b, mirrored left to right if ``mirrored``, then turned by ``quarter_turns`` counter-clockwise, has at
    (y, x) what picture a has at (y + dy, x + dx).
    """

    a: int
    b: int
    quarter_turns: int
    mirrored: bool
    dy: int
    dx: int
    share: float  # of the picture's area
    correlation: float


def overlaps(pictures: np.ndarray, symmetries: bool = True, progress: Callable = iter) -> list[Overlap]:
    """Every pair of pictures that have SHARE of their area or more in common, with correlation SAME or more.

    The local mean is taken away first, so that neither light nor a broad defect makes two pictures alike. Where two
    pictures may overlap is looked for on small copies, by a Fourier transform that tries every shift at once.

    Args:
        pictures: grey levels (N, H, W).
        symmetries: look for turned and mirrored ones, too; by quarter turns where H = W.
        progress: wraps what is iterated over, as tqdm does.
    """
    full = high_pass(pictures.astype(np.float32), 15)  # (N, H, W)
    factor = max(1, min(full.shape[1:]) // SIDE)
    small = high_pass(shrink(pictures.astype(np.float32), factor), 4)  # (N, H / factor, W / factor)
    turns = (0,) if not symmetries else (0, 1, 2, 3) if full.shape[1] == full.shape[2] else (0, 2)
    best: dict[tuple[int, int], Overlap] = {}
    for mirrored in (False, True) if symmetries else (False,):
        for k in turns:
            for a, b, dy, dx in candidates(small, transform(small, k, mirrored), progress):
                other = transform(full[b], k, mirrored)
                correlation, dy, dx = refine(full[a], other, dy * factor, dx * factor, factor)
                share = (1 - abs(dy) / full.shape[1]) * (1 - abs(dx) / full.shape[2])
                known = best.get((a, b))
                if share >= SHARE and correlation >= SAME and (known is None or correlation > known.correlation):
                    best[a, b] = Overlap(a, b, k, mirrored, dy, dx, share, correlation)
    return [best[pair] for pair in sorted(best)]


def groups(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """For each of count pictures, the smallest index that it is joined to by a chain of pairs."""
    joined = list(range(count))
    for a, b in pairs:
        low, high = sorted((joined[a], joined[b]))
        joined = [low if group == high else group for group in joined]
    return joined


def candidates(first: np.ndarray, second: np.ndarray, progress: Callable) -> Iterator[tuple[int, int, int, int]]:
    """Pairs a < b and shifts (dy, dx) at which first[a] and second[b], (N, h, w) of local mean 0, correlate."""
    h, w = first.shape[1:]
    shape = 2 * h, 2 * w  # with zeros around, so that a shift does not wrap
    window = np.fft.rfft2(np.ones((h, w), np.float32), shape)
    transforms = np.fft.rfft2(first, shape), np.fft.rfft2(second, shape).conj()  # (N, 2h, w + 1)
    # The energy of either picture in what the two share at each shift, (N, 2h, 2w); 1 keeps flat pictures from dividing by 0.
    energy = (
        np.fft.irfft2(np.fft.rfft2(first**2, shape) * window.conj(), shape).clip(1),
        np.fft.irfft2(np.fft.rfft2(second**2, shape).conj() * window, shape).clip(1),
    )
    too_little = np.fft.irfft2(window * window.conj(), shape) < SHARE * h * w
    for a in progress(range(len(first) - 1)):
        products = np.fft.irfft2(transforms[0][a] * transforms[1][a + 1 :], shape)  # (N - a - 1, 2h, 2w)
        correlation = products / np.sqrt(energy[0][a] * energy[1][a + 1 :])
        correlation[:, too_little] = -1
        for b in np.flatnonzero(correlation.max((1, 2)) >= SCREENED):
            flat = correlation[b].ravel()
            for peak in np.argpartition(flat, -PEAKS)[-PEAKS:]:
                if flat[peak] >= SCREENED:
                    dy, dx = divmod(int(peak), 2 * w)
                    yield a, a + 1 + int(b), dy - 2 * h * (dy >= h), dx - 2 * w * (dx >= w)


def refine(a: np.ndarray, b: np.ndarray, dy: int, dx: int, reach: int) -> tuple[float, int, int]:
    """The best correlation of a[y + dy, x + dx] with b[y, x], both (H, W), for shifts up to ``reach`` away; and its shift."""
    H, W = a.shape
    best = (-1.0, dy, dx)
    for v in range(max(1 - H, dy - reach), min(H, dy + reach + 1)):
        for u in range(max(1 - W, dx - reach), min(W, dx + reach + 1)):
            ours = a[max(0, v) : H + min(0, v), max(0, u) : W + min(0, u)]
            theirs = b[max(0, -v) : H - max(0, v), max(0, -u) : W - max(0, u)]
            energy = float(np.vdot(ours, ours)) * float(np.vdot(theirs, theirs))
            if energy:
                best = max(best, (float(np.vdot(ours, theirs)) / energy**0.5, v, u))
    return best


def transform(picture: np.ndarray, quarter_turns: int, mirrored: bool) -> np.ndarray:
    """(..., H, W) mirrored left to right or not, then turned counter-clockwise."""
    return np.rot90(picture[..., ::-1] if mirrored else picture, quarter_turns, (-2, -1))


def shrink(pictures: np.ndarray, factor: int) -> np.ndarray:
    """Means of factor x factor pixels; (N, H, W) -> (N, H // factor, W // factor)."""
    n, H, W = pictures.shape
    h, w = H // factor, W // factor
    return pictures[:, : h * factor, : w * factor].reshape(n, h, factor, w, factor).mean((2, 4))


def high_pass(pictures: np.ndarray, radius: int) -> np.ndarray:
    """(N, H, W) less the mean of the (2 radius + 1)-pixel square around each pixel, edges reflected."""
    for_sums = np.pad(pictures, ((0, 0), (radius + 1, radius), (radius + 1, radius)), mode="reflect").astype(np.float64)
    sums = for_sums.cumsum(1).cumsum(2)
    side = 2 * radius + 1
    local = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    return (pictures - local / side**2).astype(np.float32)
