"""Can a data set be trusted? Copies and overlaps between its splits, damaged files, odd masks, odd pictures."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep.format import read_manifest, read_pair
from data_prep.overlap import Overlap, search, shared, transform

FAULT, NOTE = "fault", "note"
FAR_OUT = 3  # interquartile ranges beyond the quartiles, where Tukey's far-out values begin
LOW_CONTRAST = 16  # grey levels between the 1st and the 99th percentile
CLIPPED = 0.05  # share of pixels that are 0, or 255
LISTED = 10  # findings of a kind that a report lists


@dataclass(frozen=True)
class Finding:
    """What is odd about some pictures: a fault stops a run or falsifies its result, a note is for a person to judge."""

    severity: str  # FAULT or NOTE
    kind: str
    ids: tuple[str, ...]
    sentence: str


@dataclass(frozen=True)
class Sample:
    """A picture, uint8 (H, W), colour as its luminance, and its mask, bool (H, W)."""

    id: str
    split: str
    image: np.ndarray
    mask: np.ndarray


def audit(folder: Path, found: Sequence[Overlap] | None = None, progress: Callable = iter) -> list[Finding]:
    """Everything odd about a data set in the project's format, faults first.

    Args:
        found: overlaps found before, a and b counting the rows of the manifest; without, they are searched for, turned
            and mirrored ones too. Where every picture shows the same scene, say a part in its holder, all of them
            overlap by this measure, and () leaves the search out.
        progress: wraps what the search iterates over, as tqdm does.

    Raises:
        FileNotFoundError, ValueError: the manifest is missing or has other columns.
    """
    rows = read_manifest(folder)
    samples, damaged = read_samples(folder, rows)
    every = list(samples.values())
    findings = [*damaged, *empty_sides(rows), *straddling_groups(rows), *copies(every)]
    findings += overlapping(rows, search({i: sample.image for i, sample in samples.items()}, progress) if found is None else found)
    for sample in every:
        findings += [*odd_mask(sample), *odd_values(sample)]
    findings += [*odd_sizes(every), *odd_areas(every)]
    return sorted(findings, key=lambda finding: finding.severity != FAULT)


def main(folder: Path, search: bool = True) -> int:
    """Print the report on a data set, with overlaps unless told otherwise; 1 if there is a fault, else 0."""
    findings = audit(folder, None if search else (), partial(tqdm, desc="overlaps", leave=False, disable=None))
    print(report(findings))
    return int(any(finding.severity == FAULT for finding in findings))


def report(findings: Iterable[Finding]) -> str:
    """The findings as text: of each severity and kind the count and the first LISTED."""
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    count = Counter({FAULT: 0, NOTE: 0})
    for finding in findings:
        kinds[finding.severity, finding.kind].append(finding.sentence)
        count[finding.severity] += 1
    lines = []
    for (severity, kind), sentences in kinds.items():
        lines += [f"{severity}: {kind} ({len(sentences)})", *(f"  {sentence}" for sentence in sentences[:LISTED])]
        if len(sentences) > LISTED:
            lines.append(f"  and {len(sentences) - LISTED} more")
    return "\n".join([*lines, f"faults: {count[FAULT]}, notes: {count[NOTE]}"])


def read_samples(folder: Path, rows: Sequence[Mapping[str, str]]) -> tuple[dict[int, Sample], list[Finding]]:
    """The samples by their place among the rows, and a fault for each that cannot be read."""
    samples, damaged = {}, []
    for i, row in enumerate(rows):
        try:
            samples[i] = read_sample(folder, row)
        except (FileNotFoundError, ValueError) as error:
            damaged.append(Finding(FAULT, "damaged file", (row["id"],), str(error)))
    return samples, damaged


def read_sample(folder: Path, row: Mapping[str, str]) -> Sample:
    """The picture and mask of a row; ValueError or FileNotFoundError if training would stop at them."""
    image, mask = read_pair(folder, row)
    return Sample(row["id"], row["split"], np.asarray(image.convert("L")), np.asarray(mask) == 255)


def empty_sides(rows: Sequence[Mapping[str, str]]) -> Iterator[Finding]:
    """A side of the split, training or test, without a picture, or without one that shows a defect."""
    for side in ("train", "test"):
        part = [row for row in rows if row["split"] == side]
        if not any(float(row["defect_fraction"]) for row in part):
            yield Finding(FAULT, "empty side", (), f"No picture for {side}ing{' shows a defect' if part else ' is there'}.")


def straddling_groups(rows: Sequence[Mapping[str, str]]) -> Iterator[Finding]:
    """Groups of the manifest that have pictures on both sides of the split."""
    members = defaultdict(list)
    for row in rows:
        members[row["group"]].append(row)
    for group, its_rows in members.items():
        if len({row["split"] for row in its_rows}) > 1:
            ids = tuple(row["id"] for row in its_rows)
            yield Finding(FAULT, "split group", ids, f"Group {group} is in training and test: {', '.join(ids)}.")


def odd_mask(sample: Sample) -> Iterator[Finding]:
    """Masks that are empty, full, or touch every border, and one-pixel islands, eight neighbours counting."""
    mask = sample.mask
    if not mask.any():
        yield Finding(NOTE, "empty mask", (sample.id,), f"The mask of {sample.id} marks no defect.")
    elif mask.all():
        yield Finding(FAULT, "full mask", (sample.id,), f"The mask of {sample.id} marks every pixel as defect.")
    elif all(border.any() for border in (mask[0], mask[-1], mask[:, 0], mask[:, -1])):
        sentence = f"The mask of {sample.id} touches all four borders; is it inverted?"
        yield Finding(NOTE, "mask at every border", (sample.id,), sentence)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1), (3, 3)).sum((2, 3))
    if islands := int((mask & (around == 1)).sum()):
        yield Finding(NOTE, "one-pixel islands", (sample.id,), f"The mask of {sample.id} has one-pixel islands: {islands}.")


def odd_values(sample: Sample) -> Iterator[Finding]:
    """Pictures of one value, of little contrast, or with clipped values."""
    low, high = np.percentile(sample.image, (1, 99))
    black, white = (sample.image == 0).mean(), (sample.image == 255).mean()
    if sample.image.min() == sample.image.max():
        yield Finding(FAULT, "constant picture", (sample.id,), f"{sample.id} has the value {sample.image[0, 0]} everywhere.")
        return
    if high - low < LOW_CONTRAST:
        sentence = f"{sample.id} has 98 % of its values within {high - low:.0f} grey levels."
        yield Finding(NOTE, "low contrast", (sample.id,), sentence)
    if max(black, white) > CLIPPED:
        sentence = f"{sample.id} is black (0) in {black:.0%} and white (255) in {white:.0%} of its pixels."
        yield Finding(NOTE, "clipped values", (sample.id,), sentence)


def odd_sizes(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Pictures of another size than most of their split, which is read as one array."""
    for split in sorted({sample.split for sample in samples}):
        part = [sample for sample in samples if sample.split == split]
        [(shape, _)] = Counter(sample.image.shape for sample in part).most_common(1)
        for sample in part:
            if sample.image.shape != shape:
                (height, width), (rows, columns) = sample.image.shape, shape
                sentence = f"{sample.id} is {width}x{height}, but most of {split} is {columns}x{rows}; make them one size."
                yield Finding(FAULT, "odd size", (sample.id,), sentence)


def odd_areas(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Defects far larger or smaller than most; empty masks apart."""
    marked = [sample for sample in samples if sample.mask.any()]
    areas = np.array([sample.mask.mean() for sample in marked])
    for sample, area, odd in zip(marked, areas, far_out(areas)):
        if odd:
            sentence = f"The defect of {sample.id} covers {area:.2%} of the picture, the median being {np.median(areas):.2%}."
            yield Finding(NOTE, "odd defect area", (sample.id,), sentence)


def far_out(values: np.ndarray) -> np.ndarray:
    """Which positive values (N,) lie FAR_OUT interquartile ranges beyond their quartiles on a logarithmic scale."""
    if not len(values):
        return np.zeros(0, bool)
    logarithms = np.log(values)
    low, high = np.percentile(logarithms, (25, 75))
    return (logarithms < low - FAR_OUT * (high - low)) | (logarithms > high + FAR_OUT * (high - low))


def copies(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Pictures that are the same pixel for pixel, turned by quarter turns and mirrored ones too."""
    same = defaultdict(list)
    for sample in samples:
        same[any_way_up(sample.image)].append(sample)
    for group in same.values():
        if len(group) > 1:
            named = ", ".join(f"{sample.id} ({sample.split})" for sample in group)
            severity = FAULT if len({sample.split for sample in group}) > 1 else NOTE
            sentence = f"The same picture, turned or mirrored at most: {named}."
            yield Finding(severity, "copy", tuple(sample.id for sample in group), sentence)


def any_way_up(image: np.ndarray) -> bytes:
    """A hash of (H, W) that its eight symmetric copies share."""
    ways = (transform(image, k, mirrored) for k in range(4) for mirrored in (False, True))
    return min(hashlib.sha256(f"{way.shape}".encode() + way.tobytes()).digest() for way in ways)


def overlapping(rows: Sequence[Mapping[str, str]], pairs: Iterable[Overlap]) -> Iterator[Finding]:
    """A finding for each overlap, a fault where it leads from training to test."""
    for pair in pairs:
        a, b = rows[pair.a], rows[pair.b]
        how = (f", turned by {90 * pair.quarter_turns} degrees" if pair.quarter_turns else "") + ", mirrored" * pair.mirrored
        yield Finding(
            FAULT if a["split"] != b["split"] else NOTE, "overlap", (a["id"], b["id"]),
            f"{a['id']} ({a['split']}) and {b['id']} ({b['split']}{how}) show the same surface on {pair.share:.0%} of a "
            f"picture, correlation {pair.correlation:.3f}.",
        )


def leaked(rows: Sequence[Mapping[str, str]], pairs: Iterable[Overlap]) -> set[str]:
    """The ids of the test pictures that overlap a training picture."""
    straddling = [(rows[pair.a], rows[pair.b]) for pair in pairs if rows[pair.a]["split"] != rows[pair.b]["split"]]
    return {row["id"] for pair in straddling for row in pair if row["split"] == "test"}


def agreement(a: np.ndarray, b: np.ndarray, pair: Overlap) -> tuple[int, int]:
    """On what two pictures share, the pixels that both of their masks, bool (H, W), mark as defect, and that either does."""
    ours, theirs = shared(a, transform(b, pair.quarter_turns, pair.mirrored), pair.dy, pair.dx)
    return int((ours & theirs).sum()), int((ours | theirs).sum())
