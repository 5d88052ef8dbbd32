"""Reading a data set: a folder with images/*.png, masks/*.png (0/255) and manifest.csv."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.decode import eight_bits, open_picture
from data_prep.format import read_manifest, read_pair, sha256
from data_prep.splits import require_seed, split


@dataclass(frozen=True)
class Samples:
    """Images and masks of one part of a data set.

    Shape:
        images uint8 (N, H, W, 3), a grey picture repeated to three channels; masks bool (N, H, W)
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]  # pictures of one group show parts of the same surface
    images: np.ndarray
    masks: np.ndarray

    def take(self, indices: np.ndarray) -> "Samples":
        """The samples at these indices."""
        ids, groups = (tuple(names[i] for i in indices) for names in (self.ids, self.groups))
        return Samples(ids, groups, self.images[indices], self.masks[indices])


def load(folder: Path, split: str, split_seed: int = 0) -> Samples:
    """Read the images and masks of one part of a data set, every file checked against the manifest.

    Args:
        folder: the data set.
        split: "train" or "test".
        split_seed: 0 for the manifest's own split; any other seed draws a new one with as many test images.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: a file is damaged or changed, sizes differ, a mask holds other values than 0 and 255.
    """
    rows = [row for row in split_rows(read_manifest(folder), split_seed) if row["split"] == split]
    if not rows:
        raise ValueError(f"{folder / 'manifest.csv'} lists no {split} image; give at least one the split {split!r}.")
    pairs = [(np.asarray(image.convert("RGB")), np.asarray(mask) == 255) for image, mask in (read_pair(folder, row) for row in rows)]
    sizes = {image.shape[:2] for image, _ in pairs}
    if len(sizes) > 1:
        height, width = pairs[0][0].shape[:2]
        other = next(i for i, (image, _) in enumerate(pairs) if image.shape[:2] != (height, width))
        raise ValueError(
            f"{folder / 'images' / rows[other]['id']}.png is {pairs[other][0].shape[1]}x{pairs[other][0].shape[0]} but "
            f"{rows[0]['id']}.png is {width}x{height}; bring all to one size, as \"python -m data_prep own\" does."
        )
    ids, groups = (tuple(row[key] for row in rows) for key in ("id", "group"))
    return Samples(ids, groups, np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs]))


def split_rows(rows: list[dict[str, str]], split_seed: int) -> list[dict[str, str]]:
    """The manifest's rows with their split, or with another drawn by a seed other than 0."""
    require_seed(split_seed)
    return rows if split_seed == 0 else split(rows, sum(row["split"] == "test" for row in rows), split_seed)


def manifest_sha256(folder: Path) -> str:
    """SHA-256 of manifest.csv: with the file hashes inside it, the identity of the data set."""
    read_manifest(folder)
    return sha256(folder / "manifest.csv")


def read_image(path: Path | str, white: int | None = None) -> np.ndarray:
    """A picture as uint8 (H, W, 3), turned as its EXIF says, a grey one repeated to three channels.

    Args:
        white: the value of a grey 16-bit picture that becomes 255; give the one that the network's data set was
            made with (``data_prep.own``). None: see ``decode.eight_bits``.

    Raises:
        FileNotFoundError, ValueError: see ``decode.open_picture`` and ``decode.eight_bits``.
    """
    return np.asarray(eight_bits(open_picture(path), path, white).convert("RGB"))
