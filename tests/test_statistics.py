import numpy as np
import pytest
from scipy.stats import spearmanr

from anet_core.metrics import iou, iou_pooled
from anet_core.statistics import (
    bootstrap, bootstrap_iou_pooled, by_pictures, deviations, difference, difference_over_sets, effect_size, effective_surfaces, hinges, interval, mean,
    rank_by_chance, rank_correlation, rank_of_redraws, shared,
)
from data_prep import neu


def run(counts, groups=None, model="A-Net", split_seed=0, seed=0) -> dict:
    """A record as far as statistics and standings read it, from TP, FN, FP of each image."""
    ids = [f"image {i}" for i in range(len(counts))]
    return {
        "model": model, "dataset": "toy", "split_seed": split_seed, "seed": seed,
        "confusion_images": dict(zip(ids, np.asarray(counts).tolist())),
        "group_images": dict(zip(ids, groups or ids)), "iou_pooled": 100 * iou_pooled(np.asarray(counts)),
        "iou_image_mean": 100 * iou(np.asarray(counts)).mean(), "losses": [0.5],
    }


def drawn(rng, images=30):
    """Confusion of a network that finds about 70 % of defects of very different size."""
    defect = rng.lognormal(6, 1, images).astype(int) + 10
    tp = rng.binomial(defect, 0.7)
    return np.stack([tp, defect - tp, rng.binomial(defect, 0.1)], 1)


def width(runs) -> float:
    low, high = interval(bootstrap(runs))
    return high - low


def test_surfaces_are_drawn_also_where_a_split_by_chance_left_them_out_of_the_record():
    groups = {key: group for key, group in neu.surface_groups("neu-inclusion").items() if int(key[3:]) % 6 == 3}
    counts = drawn(np.random.default_rng(5), len(groups)).tolist()
    record = run(counts) | {"confusion_images": dict(zip(groups, counts))}
    alone, by_chance, together = (
        interval(bootstrap([record | {"dataset": dataset, "group_images": of}]))
        for dataset, of in (("toy", {key: key for key in groups}), ("neu-inclusion-random", {key: key for key in groups}), ("toy", groups))
    )
    assert by_chance == together != alone and len(set(groups.values())) < len(groups)


def test_a_set_of_one_s_own_may_be_called_random():
    record = run([[3, 1, 0], [2, 2, 0]]) | {"dataset": "bolts-random"}
    assert bootstrap([record]).shape == bootstrap([record | {"dataset": "bolts"}]).shape


def test_pictures_of_one_surface_count_once():
    """Each picture twice in its group: twice the pictures tell nothing more, and every draw is the same."""
    counts = drawn(np.random.default_rng(0))
    names = [f"surface {i:02}" for i in range(len(counts))]
    np.testing.assert_allclose(bootstrap([run(counts, names)]), bootstrap([run([*counts, *counts], names * 2)]), rtol=1e-12)
    assert width([run([*counts, *counts])]) < 0.85 * width([run(counts)])  # sqrt(1/2) if they were independent


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """200 test sets of 30 pictures from one source: 95 % +- 3 standard errors of 200 trials, less 3 for so few pictures."""
    rng = np.random.default_rng(1)
    truth = 100 * iou(drawn(rng, 200_000).sum(0))
    low, high = np.array([bootstrap_iou_pooled(run(drawn(rng))) for _ in range(200)]).T
    assert 0.875 <= np.mean((low <= truth) & (truth <= high)) <= 0.995


def test_differences_are_paired():
    """Two networks that differ by a constant share of each defect, on pictures that differ far more."""
    counts = drawn(np.random.default_rng(2))
    lost = counts[:, 0] // 10
    worse = counts + np.stack([-lost, lost, 0 * lost], 1)
    a, b = run(counts), run(worse, model="B")
    mean, low, high = difference([a], [b])
    assert 0 < low < mean < high and mean == pytest.approx(a["iou_pooled"] - b["iou_pooled"])
    assert high - low < 0.2 * width([a])
    assert difference([a], [a]) == (0, 0, 0)


def test_the_effect_size_counts_surfaces_and_not_points():
    """Differences of 10, 20 and 30 points on three surfaces: mean 20, standard deviation 10."""
    ours, theirs = ([[tp, 100 - tp, 0] for tp in found] for found in ((60, 60, 60), (50, 40, 30)))
    names = ["a", "b", "c"]
    assert effect_size([run(ours, names)], [run(theirs, names)]) == pytest.approx(2)
    assert effect_size([run(theirs, names)], [run(ours, names)]) == pytest.approx(-2)
    twice = [run([*counts, *counts], names * 2) for counts in (ours, theirs)]
    assert effect_size(twice[:1], twice[1:]) == pytest.approx(2)
    assert np.isnan(effect_size([run(ours, names)], [run(ours, names)])) and np.isnan(effect_size([run(ours, ["a"] * 3)], [run(theirs, ["a"] * 3)]))


def test_more_runs_narrow_the_interval_and_runs_that_differ_widen_it():
    rng = np.random.default_rng(3)
    runs = [run(drawn(rng), split_seed=k) for k in range(6)]
    assert width(runs) < width(runs[:1])
    counts = drawn(rng)
    missed = counts[:, 0] // 2
    apart = [run(counts), run(counts + np.stack([-missed, missed, 0 * missed], 1), seed=1)]
    assert width(apart) > max(width([one]) for one in apart)


def test_more_seeds_of_one_split_tell_no_more_of_its_surfaces():
    counts = drawn(np.random.default_rng(7))
    assert width([run(counts, seed=k) for k in range(6)]) == pytest.approx(width([run(counts)]))


def test_a_surface_that_is_drawn_is_drawn_in_every_split_that_tested_on_it():
    """Six splits tested on the same pictures tell no more of them than one, and six on others each what one tells of its own."""
    counts = drawn(np.random.default_rng(7))
    same = [run(counts, split_seed=k) for k in range(6)]
    assert width(same) == pytest.approx(width(same[:1]), rel=0.05)  # of 10,000 draws each
    apart = [run(counts, [f"surface {k} {i}" for i in range(len(counts))], split_seed=k) for k in range(6)]
    assert width(apart) < 0.6 * width(same)


def test_a_run_of_whose_surfaces_none_is_drawn_keeps_its_own_iou():
    """Two splits with a surface each: with 1/4 one of them is not drawn at all."""
    runs = [run([[50, 50, 0]], ["a"], split_seed=0), run([[10, 90, 0]], ["b"], split_seed=1)]
    assert set(bootstrap(runs).round(6)) == {10, 30, 50}  # by the draws of runs alone


def test_only_runs_of_the_same_split_and_seed_are_compared():
    counts = drawn(np.random.default_rng(4))
    ours = [run(counts, split_seed=k) for k in (2, 0, 1)]
    theirs = [run(counts, model="B", split_seed=k) for k in (1, 2, 3)]
    assert [[r["split_seed"] for r in runs] for runs in shared(ours, theirs)] == [[1, 2], [1, 2]]
    with pytest.raises(ValueError, match="no run with the same split"):
        difference(ours[1:2], theirs)
    with pytest.raises(ValueError, match="B on toy were not tested on the same images"):
        difference([run(counts)], [run(counts[:5], model="B")])


def test_the_order_of_networks():
    rng = np.random.default_rng(5)
    found = (0.4, 0.6, 0.75, 0.9)
    tp = {p: rng.binomial(300, p, 40) for p in found}
    ours = {str(p): [run(np.stack([tp[p], 300 - tp[p], 0 * tp[p]], 1))] for p in found}
    printed = {str(p): 100 * p for p in found}
    assert rank_correlation(ours, printed) == pytest.approx((1, 1, 1))
    backwards = {name: -value for name, value in printed.items()}
    assert rank_correlation(ours, backwards)[0] == pytest.approx(-1)


def test_a_hinge_is_a_surface_without_which_nothing_is_decided():
    """Ours finds more on 4 of 13 surfaces: a draw has none of them in 0.8 % of cases, and none of 3 of 12 in 3.2 %."""
    theirs = np.tile([70, 30, 10], (13, 1))
    ours = theirs + np.array([[20, -20, 0]] * 4 + [[0, 0, 0]] * 9)
    better, same = [run(ours)], [run(theirs)]
    assert difference(better, same)[1] > 0
    assert hinges(better, same) == [f"image {i}" for i in range(4)]
    assert hinges([run(ours[:1])], [run(theirs[:1])]) == ["image 0"]  # the only one


def test_an_order_that_surfaces_agree_on_is_found_again():
    rng = np.random.default_rng(0)
    counts = drawn(rng, 40)
    networks = {}
    for name, lost in (("a", 0.0), ("b", 0.2), ("c", 0.4)):
        less = (lost * counts[:, 0]).astype(int)
        networks[name] = [run(counts + np.stack([-less, less, 0 * less], 1))]
    assert rank_of_redraws(networks) == (1.0, 1.0, 1.0)
    alike = {name: [run(drawn(rng, 40))] for name in "abcd"}
    assert rank_of_redraws(alike)[1] < 0


def test_rank_correlation_with_ties_is_scipy_s():
    rng = np.random.default_rng(8)
    counts = {name: drawn(rng) for name in "abcde"}
    counts["c"] = counts["a"]
    ours, printed = {name: [run(of)] for name, of in counts.items()}, dict(zip("abcde", (60, 50, 50, 70, 40)))
    assert rank_correlation(ours, printed)[0] == pytest.approx(spearmanr([of[0]["iou_pooled"] for of in ours.values()], list(printed.values())).statistic)


def test_of_the_24_orders_of_four_networks_two_are_as_far_from_0_as_the_same_order():
    ours = {name: [run([[tp, 100 - tp, 0]] * 3)] for name, tp in zip("abcd", (20, 40, 60, 80))}
    assert rank_by_chance(ours, dict(zip("abcd", (1, 2, 3, 4)))) == pytest.approx(2 / 24, abs=0.01)  # 3.6 standard errors of 10 000 draws
    assert rank_by_chance(ours, dict(zip("abcd", (2, 4, 1, 3)))) == 1  # a correlation of 0


def test_surfaces_of_uneven_size_weigh_like_fewer_equal_ones():
    assert effective_surfaces(run([[50, 30, 20]] * 4)) == pytest.approx(4)
    assert effective_surfaces(run([[50, 30, 20]] * 4, ["a", "a", "a", "b"])) == pytest.approx(16 / 10)


def test_by_pictures_a_small_defect_counts_as_much_as_a_large_one():
    one = run([[900, 100, 0], [1, 9, 0], [0, 0, 0]])  # IoUs of 90, 10 and 100 %
    assert by_pictures(one)["iou_pooled"] == pytest.approx(200 / 3)
    assert bootstrap([by_pictures(one)]).mean() == pytest.approx(200 / 3, abs=1)


def test_over_sets_each_set_counts_alike_and_their_surfaces_are_drawn_apart():
    rng = np.random.default_rng(9)
    ours, theirs = ([[run(drawn(rng), [f"{name} {i}" for i in range(30)])] for name in "abcdefgh"] for _ in range(2))
    mean, low, high = difference_over_sets(ours, theirs)
    one_by_one = np.array([difference(*pair) for pair in zip(ours, theirs)])
    assert mean == pytest.approx(one_by_one[:, 0].mean())
    assert high - low == pytest.approx(np.sqrt(((one_by_one[:, 2] - one_by_one[:, 1]) ** 2).sum()) / 8, rel=0.15)


def test_of_several_comparisons_the_intervals_are_wider():
    draws = np.arange(10_001) / 10_000
    assert interval(draws) == pytest.approx((0.025, 0.975)) and interval(draws, 5) == pytest.approx((0.005, 0.995))


def of_iou(percent, split_seed, seed):
    """A run on so many equal surfaces that only split and seed can change its IoU."""
    return run([[percent, 100 - percent, 0]] * 20, split_seed=split_seed, seed=seed)


def test_a_split_run_by_more_seeds_counts_no_more_than_another():
    runs = [of_iou(60, 0, 0), of_iou(70, 0, 1), of_iou(80, 0, 2), of_iou(50, 1, 0)]
    assert mean(runs) == pytest.approx((70 + 50) / 2)
    draws = bootstrap(runs)
    assert draws.mean() == pytest.approx(60, abs=0.5)
    of_splits, of_seeds = 10 / np.sqrt(2), 10 * np.sqrt(2 / 3) / np.sqrt(3)  # the mean of two splits; of three seeds, on the one that has them
    assert draws.std() == pytest.approx(np.sqrt(of_splits**2 + of_seeds**2 * (1 / 4 + 1 / 8)), rel=0.03)


def test_the_effect_size_counts_splits_alike_too():
    """Three seeds that gain on one split and one that loses as much on another, three surfaces each."""
    other = [run([[50, 50, 0]] * 3, split_seed=split, seed=seed) for split, seed in ((0, 0), (0, 1), (0, 2), (1, 0))]
    ours = [run([[50 + sign * gain, 50 - sign * gain, 0] for gain in (10, 12, 14)], split_seed=split, seed=seed)
            for sign, split, seed in ((1, 0, 0), (1, 0, 1), (1, 0, 2), (-1, 1, 0))]
    assert difference(ours, other)[0] == pytest.approx(0) and np.isnan(effect_size(ours, other))
    assert effect_size(ours[:1], other[:1]) == pytest.approx(12 / 2)


def test_splits_and_seeds_deviate_by_themselves():
    assert deviations([of_iou(60, 0, 0), of_iou(70, 0, 1), of_iou(50, 1, 0), of_iou(54, 1, 1)]) == pytest.approx((13 / np.sqrt(2), np.sqrt((50 + 8) / 2)))
    by_splits, by_seeds = deviations([of_iou(60, 0, 0), of_iou(50, 1, 0)])
    assert by_splits == pytest.approx(10 / np.sqrt(2)) and np.isnan(by_seeds)
    assert np.isnan(deviations([of_iou(60, 0, 0)])).all()


def test_splits_of_different_sets_are_drawn_apart():
    """Eight sets of two splits, ahead by 10 on one of them: which one must not matter."""
    def of_sets(ahead_on):
        pairs = [[[of_iou(50 + 10 * (split == on), split, 0) for split in (0, 1)], [of_iou(50, split, 0) for split in (0, 1)]] for on in ahead_on]
        for i, pair in enumerate(pairs):
            for run_of_set in pair[0] + pair[1]:
                run_of_set["group_images"] = {image: f"{i} {image}" for image in run_of_set["group_images"]}
        return difference_over_sets(*zip(*pairs))

    same, mixed = of_sets([0] * 8), of_sets([0, 1] * 4)
    assert same[0] == mixed[0] == pytest.approx(5)
    assert same[1:] == pytest.approx(mixed[1:], abs=0.7) and 2 < same[1] < 3.5 and 6.5 < same[2] < 8
