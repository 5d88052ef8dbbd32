"""Drawing which pictures of a data set are for testing: whole groups of those that show one surface, by a seed."""

from pathlib import Path

import numpy as np


def split(rows: list[dict], test: int, seed: int) -> list[dict]:
    """The manifest's rows with a split drawn by a seed: whole groups, in random order, as long as they fit.

    Pictures without a defect, where there are any, are given to the test images in their share of the set, or as near to
    it as leaves a defect on both sides where two groups or more have one, and for training where one has.

    Raises:
        ValueError: the groups are too large for that many test images.
    """
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row["group"], []).append(i)
    members = list(groups.values())
    order = [members[k] for k in np.random.default_rng(seed).permutation(len(members))]
    defective, sound = (
        [group for group in order if any(float(rows[i]["defect_fraction"]) for i in group) == wanted] for wanted in (True, False)
    )
    share, every = test - round(test * sum(map(len, sound)) / len(rows)), sum(map(len, defective))
    ours, others = reach(defective)[0], reach(sound)[0]
    # One group with a defect is for training, of more than one some are on either side.
    allowed = range(min(1, len(defective) - 1), every) if defective and 0 < test < len(rows) else range(test + 1)
    possible = [n for n in allowed if n <= test and ours >> n & 1 and others >> (test - n) & 1]
    if not possible:
        sides = " with a defect on both sides of the split" * (len(defective) > 1)
        raise ValueError(f"no groups of pictures of the same surface make up {test} test images{sides}; ask for another number.")
    share = min(possible, key=lambda n: abs(n - share))
    tested = {i for group in fill(defective, share) + fill(sound, test - share) for i in group}
    return [row | {"split": "test" if i in tested else "train"} for i, row in enumerate(rows)]


def possible_test(rows: list[dict], seed: int, images: Path) -> int:
    """The number of test images next to one in six that ``split`` can draw; ValueError, naming the folder images, if none."""
    for test in sorted(range(1, len(rows)), key=lambda number: abs(number - max(1, len(rows) // 6))):
        try:
            split(rows, test, seed)
        except ValueError:
            continue
        return test
    raise ValueError(f"{images} holds too few pictures to keep one for testing; add some.")


def reach(groups: list[list[int]]) -> list[int]:
    """For each k, a number that has the bit n where some of the groups from k on have n members together."""
    bits = [1]
    for group in reversed(groups):
        bits.insert(0, bits[0] | bits[0] << len(group))
    return bits


def fill(groups: list[list[int]], count: int) -> list[list[int]]:
    """The first groups in order, as many as fit, that together have just ``count`` members, which some do."""
    rest, chosen = reach(groups), []
    for k, group in enumerate(groups):
        if len(group) <= count and rest[k + 1] >> (count - len(group)) & 1:
            chosen.append(group)
            count -= len(group)
    return chosen


def require_seed(split_seed: int) -> None:
    """Raise ValueError unless a split can be drawn by a seed."""
    if split_seed < 0:
        raise ValueError(f"the seed of the split is {split_seed}; give a whole number from 0 on.")
