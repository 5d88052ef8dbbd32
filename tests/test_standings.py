import numpy as np
import pytest

from anet_core import build, complexity
from anet_core.paper import printed_iou
from anet_core.standings import comparable, distances, runs_by_network, standings, verdict_lines, verdicts

from test_statistics import drawn, run


@pytest.fixture
def runs():
    """A-Net; ENet, which misses a third more of each defect; ESNet, the same as A-Net; STDC, on another split alone."""
    counts = drawn(np.random.default_rng(0))
    lost = counts[:, 0] // 3
    worse = counts + np.stack([-lost, lost, 0 * lost], 1)
    return {
        "A-Net": [run(counts)], "ENet": [run(worse, model="ENet")], "ESNet": [run(counts, model="ESNet")],
        "STDC": [run(counts, model="STDC", split_seed=3)],
    }


def test_a_network_stands_beside_what_the_paper_prints_and_what_was_not_run_is_empty(runs):
    table = standings([*runs, "UNet"], "neu-patches", runs)
    assert table["printed"].tolist() == [printed_iou(name, "neu-patches") for name in table.index]
    assert table.loc["UNet", "runs"] == 0 and table.loc["UNet", ["IoU", "low", "high", "minus A-Net"]].isna().all()
    assert table.loc["ENet", "minus A-Net"] == pytest.approx(table.loc["ENet", "IoU"] - table.loc["A-Net", "IoU"])
    assert (table["low"] <= table["IoU"]).sum() == (table["IoU"] <= table["high"]).sum() == 4
    assert table.loc["ENet", "of pictures"] == runs["ENet"][0]["iou_image_mean"] != table.loc["ENet", "IoU"]
    assert table["effect"].notna().tolist() == [name == "ENet" for name in table.index] and table.loc["ENet", "effect"] < -0.8
    network = build("ENet")
    assert table.loc["ENet", "parameters (M)"] == complexity.parameters(network) / 1e6
    assert table.loc["ENet", "true MACs (G)"] == complexity.true_macs(network, 224) / 1e9


def test_a_table_is_of_the_splits_that_all_its_networks_have(runs):
    once = standings(["A-Net", "ENet"], "neu-patches", runs)
    other = drawn(np.random.default_rng(9))
    twice = runs | {"A-Net": [*runs["A-Net"], run(other, split_seed=1)]}
    assert standings(["A-Net", "ENet"], "neu-patches", twice).equals(once)
    alone = standings(["A-Net"], "neu-patches", twice)
    assert alone.loc["A-Net", "runs"] == 2 and alone.loc["A-Net", "IoU"] != once.loc["A-Net", "IoU"]


def test_verdicts_follow_the_paired_interval(runs):
    table = standings([*runs, "UNet"], "neu-patches", runs)
    assert verdicts(table) == {"ahead": [], "behind": ["ENet"], "undecided": ["ESNet"], "diverged": [], "not run": ["STDC", "UNet"]}


def test_a_network_that_diverged_is_not_called_behind(runs):
    del runs["ENet"]
    table = standings(["A-Net", "ENet", "ESNet", "STDC", "UNet"], "neu-patches", runs, lost=["ENet"])
    assert table["note"].dropna().to_dict() == {"ENet": "diverged"} and table.loc["ENet", ["IoU", "minus A-Net", "effect"]].isna().all()
    assert verdicts(table) == {"ahead": [], "behind": [], "undecided": ["ESNet"], "diverged": ["ENet"], "not run": ["STDC", "UNet"]}


def test_distances_have_the_sign_of_the_network_less_the_reference(runs):
    table = standings([*runs, "UNet"], "neu-patches", runs, "ENet")
    apart = distances(table, "ENet")
    assert apart.index.tolist() == ["A-Net", "ESNet", "STDC", "UNet"]
    assert apart["printed"]["A-Net"] == pytest.approx(printed_iou("A-Net", "neu-patches") - printed_iou("ENet", "neu-patches"))
    assert 0 < apart["low"]["A-Net"] < apart["ours"]["A-Net"] < apart["high"]["A-Net"]
    assert apart["ours"].notna().tolist() == [True, True, False, False]


def test_variants_of_a_printed_set_keep_its_printed_iou():
    assert printed_iou("A-Net", "neu-patches-random") == printed_iou("A-Net", "neu-patches") is not None
    assert printed_iou("A-Net", "synthetic") is None


def test_only_runs_on_test_images_stand():
    made = run(drawn(np.random.default_rng(1))) | {"protocol": "tuned", "evaluated_on": "held-back"}
    assert runs_by_network([made], "toy", "tuned") == {}
    tested = made | {"evaluated_on": "test"}
    assert list(runs_by_network([tested], "toy", "tuned")) == ["A-Net"] and runs_by_network([tested], "toy", "tuned", lost=True) == {}
    diverged = tested | {"losses": [0.9, np.nan]}
    assert runs_by_network([tested, diverged], "toy", "tuned") == {"A-Net": [tested]}
    assert runs_by_network([tested, diverged], "toy", "tuned", lost=True) == {"A-Net": [diverged]}


def test_verdicts_and_their_hinges_are_of_the_runs_of_the_table(runs):
    """On the split that all have, one surface decides that ENet is behind; on another that only two have, none does."""
    theirs = np.tile([70, 30, 10], (13, 1))
    ours = theirs + np.array([[20, -20, 0]] * 4 + [[0, 0, 0]] * 9)
    clear = theirs + np.array([[20, -20, 0]] * 13)
    found = {
        "A-Net": [run(ours), run(clear, split_seed=1)], "ENet": [run(of, model="ENet", split_seed=k) for k, of in ((0, theirs), (1, theirs))],
        "ESNet": [run(ours, model="ESNet")],
    }
    assert {name: len(of_one) for name, of_one in comparable(found).items()} == dict.fromkeys(found, 1)
    assert comparable(found | {"STDC": runs["STDC"]})["A-Net"] == found["A-Net"]  # nothing in common
    table = standings(["A-Net", "ENet", "ESNet"], "neu-patches", found)
    assert verdict_lines(table, found)[1] == "- behind: ENet (undecided without any one of 4 surfaces)"
    assert verdict_lines(standings(["A-Net", "ENet"], "neu-patches", found), found)[1] == "- behind: ENet"
