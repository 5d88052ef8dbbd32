"""NEU-DET (Song and Yan, Applied Surface Science 2013): the steel pictures of NEU with boxes, from which masks are proposed.

Its pictures are JPEGs of those that SD-saliency-900 has as BMP, in the same order; ``match`` finds that out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse
from PIL import Image
from scipy.optimize import linear_sum_assignment

from data_prep import decode, neu, splits
from data_prep.relabel import Box, propose

SOURCE = "NEU-DET"
CLASSES = ("crazing", "inclusion", "patches", "pitted_surface", "rolled-in_scale", "scratches")
DARK = {"inclusion": True, "patches": True, "scratches": False}  # against the steel around them
DIFFERENCE = 2.5  # grey levels on average: more than JPEG cost any picture (1.9), less than lies between any two (3.1)


def cases(name: str, source: Path, steel: Path) -> Iterator[tuple[str, np.ndarray, list[Box], np.ndarray, bool]]:
    """Id, grey levels, boxes, the mask that people drew, and ``dark`` of ``relabel.propose``, of each picture of a class.

    The picture is NEU-DET's, uint8 (H, W); the mask, bool (H, W), is that of SD-saliency-900's picture of the same
    number. The boxes are all of the picture's, whatever class each was given.

    Args:
        name: one of neu.PREFIXES.
        source: the folder NEU-DET, with IMAGES and ANNOTATIONS.
        steel: the folder SD-saliency-900.

    Raises:
        FileNotFoundError, ValueError: a file is missing or damaged, or the two pictures of a number differ.
    """
    if not (source / "IMAGES").is_dir():
        raise FileNotFoundError(f"{source} holds no folder IMAGES; bring the folder {SOURCE}, with IMAGES and ANNOTATIONS.")
    steel_class = name.removeprefix("neu-")
    for number in range(1, neu.IMAGES + 1):
        key, path = f"{neu.prefix(name)}_{number}", source / "IMAGES" / f"{steel_class}_{number}.jpg"
        image, original = grey(path), grey(steel / "Source Images" / f"{key}.bmp")
        if image.shape != original.shape or np.abs(image.astype(int) - original).mean() > DIFFERENCE:
            raise ValueError(f"{path} does not show what {key}.bmp in {steel} shows; bring both sets as they were published.")
        mask = np.asarray(decode.open_picture(steel / "Ground truth" / f"{key}.png")) > 0
        yield key, image, voc_boxes(source / "ANNOTATIONS" / f"{path.stem}.xml", image.shape), mask, DARK[steel_class]


def grey(path: Path) -> np.ndarray:
    """A picture's grey levels, uint8 (H, W)."""
    return np.asarray(decode.open_picture(path).convert("L"))


def voc_boxes(path: Path, shape: tuple[int, int]) -> list[Box]:
    """The boxes of a Pascal VOC annotation; its corners, counted from 1 and inclusive, become ``relabel.Box``.

    Args:
        shape: height and width of the picture.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not XML or declares entities, has no box, or a box is not whole numbers, is empty or leaves
            the picture.
    """
    try:
        objects = parse(path).getroot().findall("object")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; every picture needs its boxes.") from None
    except (ParseError, DefusedXmlException, LookupError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as an annotation ({' '.join(str(error).split())}); replace the file.") from None
    if not objects:
        raise ValueError(f"{path} holds no box; give at least one <object> with a <bndbox>.")
    return [corners(found, path, shape) for found in objects]


def corners(found: Element, path: Path, shape: tuple[int, int]) -> Box:
    """The box of one <object>."""
    words = [found.findtext(f"bndbox/{name}", "") for name in ("xmin", "ymin", "xmax", "ymax")]
    try:
        left, top, right, bottom = (int(word) for word in words)
    except ValueError:
        raise ValueError(f"{path} has a box {tuple(words)}; give xmin, ymin, xmax and ymax as whole numbers.") from None
    if not (1 <= left <= right <= shape[1] and 1 <= top <= bottom <= shape[0]):
        raise ValueError(
            f"{path} has the box {left, top, right, bottom}, which is reversed or leaves its picture of {shape[1]}x{shape[0]}; "
            "correct it."
        )
    return left - 1, top - 1, right, bottom


def proposed_samples(name: str, source: Path, steel: Path) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """The samples of ``neu.samples``, the masks of the training pictures being proposed by ``relabel.propose``.

    The test pictures of split 0 keep the masks that people drew; for another split the set is of no use.

    Args:
        name: one of neu.PREFIXES, followed by neu.PROPOSED.
        source, steel: as in ``cases``.
    """
    drawn = name.removesuffix(neu.PROPOSED)
    tested = test_ids(drawn)
    pairs = zip(neu.samples(drawn, steel), cases(drawn, source, steel), strict=True)
    for (key, image, mask), (_, picture, boxes, _, dark) in pairs:
        if key not in tested:
            proposal = Image.fromarray(np.uint8(255 * propose(picture, boxes, dark)[0]))
            mask = proposal.resize(mask.size, Image.Resampling.NEAREST)
        yield key, image, mask


def test_ids(name: str) -> set[str]:
    """The test pictures that ``format.index`` draws for a set of ``neu``, whose pictures all have a defect."""
    ids = neu.ids(name)
    joined = neu.surface_groups(name)
    rows = [{"id": key, "group": joined.get(key, key), "defect_fraction": 1} for key in ids]
    return {row["id"] for row in splits.split(rows, neu.TEST, seed=0) if row["split"] == "test"}


@dataclass(frozen=True)
class Match:
    """Which picture of NEU-DET is which of SD-saliency-900; distances are root mean squares in grey levels."""

    steel: str
    neu_det: str
    distance: float
    next_best: float  # distance to the closest other picture of NEU-DET
    largest: int  # difference of a pixel


def match(source: Path, steel: Path) -> list[Match]:
    """For each of the 900 pictures of SD-saliency-900 its own among the 1800 of NEU-DET, by pixels alone.

    One to one, with the least sum of squared differences over all pairs. Between assignments of the same sum, which
    there are where a folder holds a picture twice, the one that keeps more numbers is taken.

    Args:
        source, steel: the folders NEU-DET and SD-saliency-900.
    """
    ours = [key for name in neu.PREFIXES for key in neu.ids(name)]
    theirs = [f"{kind}_{number}" for kind in CLASSES for number in range(1, neu.IMAGES + 1)]
    bitmaps = flat([steel / "Source Images" / f"{key}.bmp" for key in ours])  # (900, pixels)
    jpegs = flat([source / "IMAGES" / f"{key}.jpg" for key in theirs])  # (1800, pixels)
    # In float64 these sums of whole numbers are exact.
    energies = (np.einsum("np,np->n", pictures, pictures) for pictures in (bitmaps, jpegs))
    squares = np.add.outer(*energies) - 2 * bitmaps @ jpegs.T  # (900, 1800)
    renumbered = np.array([[a.split("_")[1] != b.rsplit("_", 1)[1] for b in theirs] for a in ours])
    rows, columns = linear_sum_assignment(squares + renumbered / (2 * len(ours)))  # adds less than 1 in all
    distances = (squares / bitmaps.shape[1]) ** 0.5
    others = distances.copy()
    others[rows, columns] = np.inf
    return [
        Match(ours[i], theirs[j], float(distances[i, j]), float(others[i].min()), int(np.abs(bitmaps[i] - jpegs[j]).max()))
        for i, j in zip(rows, columns)
    ]


def flat(paths: list[Path]) -> np.ndarray:
    """Grey levels of pictures of one size, float64 (N, pixels)."""
    return np.stack([grey(path).ravel() for path in paths]).astype(np.float64)
