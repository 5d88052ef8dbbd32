"""Intervals for what a few dozen test pictures, and a few runs, can tell.

The bootstrap (Efron 1979) draws splits, the runs on each, which differ by their seed, and groups of pictures that show one surface, because
pictures of one surface are not independent. A surface that is drawn is drawn in every run that was tested on it, so that differences of networks are paired, and
splits that share surfaces tell no more of them than they do. That splits are drawn, too, which differ also by their surfaces, makes intervals rather too wide
(Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007).
"""

from zlib import crc32

import numpy as np

from anet_core.metrics import iou
from data_prep import neu

RESAMPLES = 10_000  # at 2000 another seed turns verdicts whose interval ends near 0


def bootstrap(runs: list[dict], seed: int = 0) -> np.ndarray:
    """Draws of the mean pooled IoU of runs (see ``mean``), in percent; float (RESAMPLES,).

    With one run they hold what another draw of as many surfaces would change, not another seed or split.
    """
    counted = [by_surface(run) for run in runs]
    names = sorted({name for of_run, _ in counted for name in of_run})
    on_split: dict[int, list[np.ndarray]] = {run["split_seed"]: [] for run in runs}
    rng = np.random.default_rng((seed, *sorted(on_split), crc32(" ".join(names).encode())))  # other sets draw others
    times = drawn(len(names), rng)
    for run, (of_run, counts) in zip(runs, counted):
        found = times[:, np.searchsorted(names, of_run)]  # (RESAMPLES, surfaces of the run)
        # A run of whose surfaces none is drawn keeps its own IoU.
        on_split[run["split_seed"]].append(100 * np.where(found.any(1), iou(found @ counts), iou(counts.sum(0))))
    return redrawn(np.stack([redrawn(np.stack(draws), rng) for draws in on_split.values()]), rng)


def redrawn(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mean in each column (n, RESAMPLES) of n of its values, drawn with replacement; (RESAMPLES,)."""
    return np.take_along_axis(values, rng.integers(0, len(values), values.shape), axis=0).mean(0)


def drawn(count: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of so many surfaces comes when as many are drawn with replacement; int (RESAMPLES, count)."""
    which = rng.integers(0, count, (RESAMPLES, count)) + count * np.arange(RESAMPLES)[:, None]
    return np.bincount(which.ravel(), minlength=count * RESAMPLES).reshape(RESAMPLES, count)


def by_surface(run: dict) -> tuple[list[str], np.ndarray]:
    """The groups of test images of a run, and TP, FN and FP of each; (groups, 3)."""
    groups = surfaces(run)
    names = sorted(set(groups.values()))
    counts = np.zeros((len(names), 3))
    for image, confusion in run["confusion_images"].items():
        counts[names.index(groups[image])] += confusion
    return names, counts


def surfaces(run: dict) -> dict[str, str]:
    """The group of each test image of a run: as its set was split by, or, where that was at random, as the pictures overlap all the same."""
    if run["dataset"] not in neu.BY_CHANCE:
        return run["group_images"]
    groups = neu.surface_groups(run["dataset"].removesuffix(neu.RANDOM))
    return {image: groups[image] for image in run["confusion_images"]}


def effective_surfaces(run: dict) -> float:
    """How many surfaces of equal size would weigh on a run's pooled IoU as unevenly as those of its test do.

    Kish's effective sample size (Survey Sampling, 1965), (sum w)^2 / sum w^2, w being the pixels of a surface that are marked or should be.
    """
    weights = by_surface(run)[1].sum(1)
    return float(weights.sum() ** 2 / (weights**2).sum())


def by_pictures(run: dict) -> dict:
    """A run whose pooled IoU is the mean over its pictures: of each, TP, FN and FP are divided by their sum, which makes all alike in weight."""

    def parts(counts: list[float]) -> list[float]:
        return [count / sum(counts) for count in counts] if any(counts) else [1.0, 0.0, 0.0]  # nothing to find, and nothing found

    return run | {
        "confusion_images": {image: parts(counts) for image, counts in run["confusion_images"].items()}, "iou_pooled": run["iou_image_mean"],
    }


def mean(runs: list[dict], measure: str = "iou_pooled") -> float:
    """The mean over splits of the mean over the runs on each, so that a split that was run by more seeds counts no more than another; in percent."""
    return float(np.mean([np.mean(values) for values in on_splits(runs, measure)]))


def deviations(runs: list[dict]) -> tuple[float, float]:
    """Standard deviations of the pooled IoU, in points: of the means of splits, and of runs by other seeds on one split; nan where there are none."""
    values = on_splits(runs, "iou_pooled")
    others = sum(len(of_split) - 1 for of_split in values)
    within = np.sqrt(sum(np.var(of_split) * len(of_split) for of_split in values) / others) if others else np.nan
    return float(np.std([np.mean(of_split) for of_split in values], ddof=1)) if len(values) > 1 else np.nan, float(within)


def on_splits(runs: list[dict], measure: str) -> list[list[float]]:
    """A measure of the runs on each split."""
    found: dict[int, list[float]] = {}
    for run in runs:
        found.setdefault(run["split_seed"], []).append(run[measure])
    return list(found.values())


def interval(draws: np.ndarray, comparisons: int = 1) -> tuple[float, float]:
    """The 95 % interval of draws; of several comparisons, that of all of them together (Bonferroni)."""
    low, high = np.percentile(draws, (2.5 / comparisons, 100 - 2.5 / comparisons))
    return float(low), float(high)


def bootstrap_iou_pooled(record: dict) -> tuple[float, float]:
    """95 % interval of one run's pooled IoU, in percent."""
    return interval(bootstrap([record]))


def alike(runs: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """The runs of several networks by the splits and seeds that all of them have, in the same order."""
    found = {name: {(run["split_seed"], run["seed"]): run for run in of_one} for name, of_one in runs.items()}
    keys = sorted(set.intersection(*map(set, found.values()))) if found else []
    return {name: [of_one[key] for key in keys] for name, of_one in found.items()}


def shared(ours: list[dict], theirs: list[dict]) -> tuple[list[dict], list[dict]]:
    """The runs of two networks that have the same split and seed, in the same order."""
    return tuple(alike({"ours": ours, "theirs": theirs}).values())


def difference(ours: list[dict], theirs: list[dict], comparisons: int = 1) -> tuple[float, float, float]:
    """Mean pooled IoU (see ``mean``) of ours less theirs over the runs that both have, with its 95 % interval (see ``interval``), in points.

    Raises:
        ValueError: see ``paired``.
    """
    return difference_over_sets([ours], [theirs], comparisons)


def difference_over_sets(ours: list[list[dict]], theirs: list[list[dict]], comparisons: int = 1) -> tuple[float, float, float]:
    """The mean over data sets of ``difference``, each set counting alike; the runs of either network are given set by set."""
    pairs = [paired(*of_set) for of_set in zip(ours, theirs)]
    draws = np.mean([bootstrap(one) - bootstrap(other) for one, other in pairs], axis=0)
    return float(np.mean([mean(one) - mean(other) for one, other in pairs])), *interval(draws, comparisons)


def paired(ours: list[dict], theirs: list[dict]) -> tuple[list[dict], list[dict]]:
    """The runs of two networks that are ``shared``.

    Raises:
        ValueError: no run has the same split and seed, or they were not tested on the same images.
    """
    ours, theirs = shared(ours, theirs)
    if not ours:
        raise ValueError("the two networks have no run with the same split and seed; run one of them again.")
    for a, b in zip(ours, theirs):
        if a["confusion_images"].keys() != b["confusion_images"].keys():
            raise ValueError(f"{a['model']} and {b['model']} on {a['dataset']} were not tested on the same images.")
    return ours, theirs


def hinges(ours: list[dict], theirs: list[dict]) -> list[str]:
    """The surfaces without any one of which the interval of ``difference`` holds 0: what leaving one out changes."""
    ours, theirs = shared(ours, theirs)

    def undecided(surface: str) -> bool:
        rest = [[run for run in (without(run, surface) for run in runs) if run["confusion_images"]] for runs in (ours, theirs)]
        if not rest[0]:
            return True
        low, high = interval(np.subtract(*map(bootstrap, rest)))
        return low <= 0 <= high

    return [surface for surface in sorted({name for run in ours for name in by_surface(run)[0]}) if undecided(surface)]


def without(run: dict, surface: str) -> dict:
    """A run whose test had no picture of a surface."""
    kept = [image for image, name in surfaces(run).items() if name != surface]
    return run | {key: {image: run[key][image] for image in kept} for key in ("confusion_images", "group_images")}


def effect_size(ours: list[dict], theirs: list[dict]) -> float:
    """Standardised size d_z of the same comparison: the mean over surfaces of the difference in IoU, by its standard deviation.

    A surface's difference is that of its pixels together, a mean over the runs that both have as in ``mean``. nan with fewer than two
    surfaces, or where all differences are equal.
    """
    differences: dict[str, dict[int, list[float]]] = {}
    for a, b in zip(*shared(ours, theirs)):
        (names, counts), (_, others) = by_surface(a), by_surface(b)
        for name, value in zip(names, 100 * (iou(counts) - iou(others))):
            differences.setdefault(name, {}).setdefault(a["split_seed"], []).append(value)
    of_surfaces = np.array([np.mean([np.mean(values) for values in of_splits.values()]) for of_splits in differences.values()])
    if len(of_surfaces) < 2 or np.ptp(of_surfaces) == 0:
        return float("nan")
    return float(of_surfaces.mean() / of_surfaces.std(ddof=1))


def rank_correlation(ours: dict[str, list[dict]], printed: dict[str, float]) -> tuple[float, float, float]:
    """Spearman's rank correlation of our mean IoUs with the printed ones over networks, with its 95 % interval.

    The interval is of these networks on other surfaces; whether networks in no order at all would come as far, ``rank_by_chance`` tells.

    Args:
        ours: runs of each network, all on the same splits; printed: IoU in percent; of at least three networks.
    """
    draws = np.stack([bootstrap(ours[name]) for name in printed])  # (networks, RESAMPLES)
    values = np.array(list(printed.values()))
    return float(spearman(means({name: ours[name] for name in printed})[:, None], values)[0]), *interval(spearman(draws, values))


def rank_by_chance(ours: dict[str, list[dict]], printed: dict[str, float]) -> float:
    """How often networks in a random order come to a rank correlation with the printed IoUs as far from 0 as ours (a permutation test)."""
    found, values = means({name: ours[name] for name in printed}), np.array(list(printed.values()))
    orders = np.random.default_rng(0).permuted(np.repeat(found[:, None], RESAMPLES, axis=1), axis=0)  # (networks, RESAMPLES)
    rho = abs(spearman(found[:, None], values)[0])
    return float((1 + (abs(spearman(orders, values)) >= rho - 1e-9).sum()) / (1 + RESAMPLES))


def rank_of_redraws(runs: dict[str, list[dict]]) -> tuple[float, float, float]:
    """Spearman's rank correlation of two redraws of mean IoUs over surfaces: its median, 2.5th and 97.5th percentile.

    An upper estimate of what ``rank_correlation`` comes to where the true orders are the same and each is known from one test: both are redrawn from one
    test, whose own error they share, and no network is trained again.
    """
    ones, others = (np.stack([bootstrap(of_one, seed) for of_one in runs.values()]) for seed in (0, 1))  # (networks, RESAMPLES)
    found = spearman(ones, others)
    return float(np.median(found)), *interval(found)


def means(runs: dict[str, list[dict]]) -> np.ndarray:
    """The mean pooled IoU of each network; (networks,)."""
    return np.array([mean(of_one) for of_one in runs.values()])


def spearman(columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each of many columns (networks, n) with values, each its own or all the same (networks,); (n,)."""
    from scipy.stats import rankdata  # half a second to load, which anet predict has no use for

    ranks, others = (rankdata(of, axis=0) - (len(values) + 1) / 2 for of in (columns, values))
    others = others.reshape(len(others), -1)
    return (others * ranks).sum(0) / np.sqrt((others**2).sum(0) * (ranks**2).sum(0))
