"""Which pictures show the same surface: cuts of one photograph that overlap, copies, turned and mirrored ones.

The steel pictures of NEU are cut from larger photographs, and many of the cuts overlap. A random split then tests
on steel that was trained on, so ``splits.split`` keeps such pictures together.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

SHARE = 0.1  # least part of a picture that two must have in common: less holds too little to tell
SAME = 0.95  # least correlation there
SIDE = 50  # of the small copies, in pixels, on which pairs are looked for
SCREENED = 0.6  # least correlation there: a shift is then off by up to half a coarse pixel
KEPT = 2**30  # bytes of Fourier transforms in full size that are kept for the next pair


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


def overlaps(pictures: np.ndarray, progress: Callable = iter) -> list[Overlap]:
    """Every pair of pictures that have SHARE of their area or more in common, with correlation SAME or more.

    Turned and mirrored ones are found, too, by quarter turns where H = W.

    The local mean is taken away first, so that neither light nor a broad defect makes two pictures alike. A Fourier
    transform tries every shift at once, on small copies of all pairs, then in full size where those correlate. Texture
    that the small copies average away, finer than a pixel of theirs, is not found again.

    Args:
        pictures: grey levels (N, H, W).
        progress: wraps what is iterated over, as tqdm does.
    """
    H, W = pictures.shape[1:]
    factor = max(1, min(H, W) // SIDE)
    full = np.stack([high_pass(picture, 15) for picture in pictures])  # (N, H, W)
    small = np.stack([high_pass(shrink(picture, factor), 4) for picture in pictures])  # (N, H / factor, W / factor)
    turns = (0, 1, 2, 3) if H == W else (0, 2)
    steps = [(m, k, a) for m in (False, True) for k in turns for a in range(len(pictures) - 1)]

    @lru_cache(KEPT // (32 * H * W))
    def in_full(i: int, k: int, mirrored: bool, second: bool) -> Spectra:
        return Spectra(transform(full[i : i + 1], k, mirrored), second)

    first = Spectra(small)
    best: dict[tuple[int, int], Overlap] = {}
    for mirrored, k, a in progress(steps):
        if a == 0:
            second = Spectra(transform(small, k, mirrored), second=True)
        alike = correlations(first, a, second, slice(a + 1, None)).max((1, 2)) >= SCREENED
        for b in (a + 1 + np.flatnonzero(alike)).tolist():
            peak = int(correlations(in_full(a, 0, False, False), 0, in_full(b, k, mirrored, True), 0).argmax())
            dy, dx = ((shift + size) % (2 * size) - size for shift, size in zip(divmod(peak, 2 * W), (H, W)))
            correlation = correlation_at(full[a], transform(full[b], k, mirrored), dy, dx)
            if correlation >= SAME and ((a, b) not in best or correlation > best[a, b].correlation):
                share = (1 - abs(dy) / H) * (1 - abs(dx) / W)
                best[a, b] = Overlap(a, b, k, mirrored, dy, dx, share, correlation)
    return [best[pair] for pair in sorted(best)]


def search(pictures: Mapping[int, np.ndarray], progress: Callable = iter) -> list[Overlap]:
    """``overlaps`` among the pictures (H, W) of each size, by the keys of pictures."""
    sizes = defaultdict(list)
    for key, picture in pictures.items():
        sizes[picture.shape].append(key)
    return [
        replace(pair, a=members[pair.a], b=members[pair.b])
        for members in sizes.values() for pair in overlaps(np.stack([pictures[key] for key in members]), progress)
    ]


def read_overlaps(path: Path, ids: Sequence[str], scale: float = 1) -> list[Overlap]:
    """The overlaps among ids in a table of ``Overlap``'s fields with an id for a and b; by index into ids.

    Args:
        scale: by which the pictures were enlarged after the table was made.
    """
    index = {name: i for i, name in enumerate(ids)}
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Overlap(
                index[row["a"]], index[row["b"]], int(row["quarter_turns"]), row["mirrored"] == "True",
                round(int(row["dy"]) * scale), round(int(row["dx"]) * scale), float(row["share"]), float(row["correlation"]),
            )
            for row in csv.DictReader(file) if row["a"] in index and row["b"] in index
        ]


def groups(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """For each of count pictures, the smallest index that it is joined to by a chain of pairs."""
    joined = list(range(count))
    for a, b in pairs:
        low, high = sorted((joined[a], joined[b]))
        joined = [low if group == high else group for group in joined]
    return joined


class Spectra:
    """Pictures (N, h, w) of local mean 0, made ready for trying every shift at once, as the first of a pair or the second."""

    def __init__(self, pictures: np.ndarray, second: bool = False) -> None:
        h, w = pictures.shape[1:]
        self.shape = 2 * h, 2 * w  # with zeros around, so that a shift does not wrap
        window = np.fft.rfft2(np.ones((h, w)), self.shape)
        shared = np.fft.irfft2(window * window.conj(), self.shape)  # pixels, (2h, 2w)
        self.transforms = np.fft.rfft2(pictures, self.shape)  # (N, 2h, w + 1)
        energies = np.fft.rfft2(pictures.astype(np.float64) ** 2, self.shape) * window.conj()
        if second:
            self.transforms, energies = self.transforms.conj(), energies.conj()
        # One over the norm of what a picture shares at each shift, (N, 2h, 2w); 0 where that is too little, half a pixel
        # being left for rounding. The 1 keeps flat pictures from dividing by 0.
        norms = np.sqrt(np.fft.irfft2(energies, self.shape).clip(1))
        self.scales = ((shared > SHARE * h * w - 0.5) / norms).astype(np.float32)


def correlations(first: Spectra, a: int, second: Spectra, b: int | slice) -> np.ndarray:
    """Picture a of first with picture or pictures b of second at every shift (dy, dx), negative ones from the end."""
    result = np.fft.irfft2(first.transforms[a] * second.transforms[b], first.shape)  # (..., 2h, 2w)
    result *= first.scales[a]
    result *= second.scales[b]
    return result


def correlation_at(a: np.ndarray, b: np.ndarray, dy: int, dx: int) -> float:
    """The correlation of a[y + dy, x + dx] with b[y, x], both (H, W), without the rounding of a Fourier transform."""
    ours, theirs = (part.astype(np.float64) for part in shared(a, b, dy, dx))
    energy = np.vdot(ours, ours) * np.vdot(theirs, theirs)
    return float(np.vdot(ours, theirs) / energy**0.5) if energy else 0.0


def shared(a: np.ndarray, b: np.ndarray, dy: int, dx: int) -> tuple[np.ndarray, np.ndarray]:
    """What two pictures (H, W) have in common, as each of them has it, where a[y + dy, x + dx] shows what b[y, x] does."""
    H, W = a.shape
    return (
        a[max(0, dy) : H + min(0, dy), max(0, dx) : W + min(0, dx)],
        b[max(0, -dy) : H - max(0, dy), max(0, -dx) : W - max(0, dx)],
    )


def transform(picture: np.ndarray, quarter_turns: int, mirrored: bool) -> np.ndarray:
    """(..., H, W) mirrored left to right or not, then turned counter-clockwise."""
    return np.rot90(picture[..., ::-1] if mirrored else picture, quarter_turns, (-2, -1))


def shrink(picture: np.ndarray, factor: int) -> np.ndarray:
    """Means of factor x factor pixels; (H, W) -> (H // factor, W // factor)."""
    h, w = picture.shape[0] // factor, picture.shape[1] // factor
    return picture[: h * factor, : w * factor].astype(np.float32).reshape(h, factor, w, factor).mean((1, 3))


def high_pass(picture: np.ndarray, radius: int) -> np.ndarray:
    """(H, W) less the mean of the (2 radius + 1)-pixel square around each pixel, edges reflected; float32."""
    side = 2 * radius + 1
    sums = np.pad(picture.astype(np.float64), (radius + 1, radius), mode="reflect").cumsum(0).cumsum(1)
    local = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return (picture - local / side**2).astype(np.float32)
