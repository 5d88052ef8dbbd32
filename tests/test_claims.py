"""The claims ledger: complete, computed, and right about records that are made to say one thing or the other."""

import csv
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from anet_core import claims, network, records, statistics, structure
from anet_core.blocks import plain
from anet_core.claims.comparisons import CONFIRMED, CONTRADICTS, EXACT, NEAR, NOT_RUN, OTHER_MASKS, REFUTED, UNDECIDED
from anet_core.claims.evidence import Evidence, interval
from anet_core.claims.table import by_place, html
from anet_core.paper import cells as paper_cells
from anet_core.paper.cells import PLACES, Claim, cell_id, cells
from anet_core.tables import paper_table, show

from conftest import ROOT

PAPER = ROOT / "anet_core" / "paper"
COMPONENTS = {"light_block", "wide_block", "jump_connection", "seg_head"}  # the ticks of Table II


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder without a run."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def ledger(results):
    return claims.ledger(results)


@pytest.fixture(scope="module")
def recorded():
    """The ledger of the repository's own runs."""
    return claims.ledger()


def is_number(text):
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def test_every_printed_number_has_a_claim():
    assert {path.stem for path in PAPER.glob("*.csv")} == {*PLACES, "claims"}
    missing = {}
    for table, place in PLACES.items():
        with (PAPER / f"{table}.csv").open(newline="", encoding="utf-8") as file:
            numbers = [text for row in csv.DictReader(file) for column, text in row.items() if column not in COMPONENTS]
        claimed = [cell.printed for cell in cells().values() if cell.where == place]
        if unclaimed := Counter(filter(is_number, numbers)) - Counter(claimed):
            missing[place] = dict(unclaimed)
    assert missing == {}


def test_the_networks_that_table_4_leaves_open_are_claimed_not_to_converge(ledger):
    dashes = ledger[ledger["printed"] == "-"]
    assert Counter(check.split()[2] for check in dashes["check"]) == dict.fromkeys(("BiSeNet", "BiSeNetV2", "ERFNet", "ENet"), 3)


def test_every_printed_cell_and_every_sentence_is_in_the_ledger(ledger):
    with (PAPER / "claims.csv").open(newline="", encoding="utf-8") as file:
        assert ledger.index.tolist() == [*cells(), *(row["id"] for row in csv.DictReader(file))]


def test_every_verdict_is_a_known_one_and_nothing_of_ours_stands_without_a_run(ledger):
    assert ledger.index.is_unique and set(ledger["verdict"]) <= set(claims.VERDICTS)
    of_runs = ledger[ledger["check"].str.contains("iou/|fps/")]
    assert set(of_runs["verdict"]) == {NOT_RUN, CONTRADICTS} and of_runs["ours"].isna().all()
    assert not ledger.loc[ledger["verdict"].isin((EXACT, NEAR, CONFIRMED)), "ours"].isna().any()
    assert (ledger.loc[ledger["verdict"] == NOT_RUN, "reason"] != "").all()


def test_the_contradictions_are_found(ledger):
    contradictions = ledger[ledger["verdict"] == CONTRADICTS]
    sizes = {f"table1-s{k}-{block}-size" for k in range(2, 6) for block in ("down", "lfem")}
    equations = {"eq1-light", "eq1-wide", "eq2-3x3", "eq2-5x5", "eq2-light", "eq2-wide", "eq2-anet", "eq2-groups", "eq4-cat", "section3c-5x5-mflops"}
    sentences = {
        "fig1-flops", "fig1-parameters", "topformer-unfit", "stacked-semantic", "head-described",
        "ablation-blocks-scratches", "ablation-jump-patches", "below-light-flops", "above-light-patches", "fps-fastest-windows", "fps-fastest-linux",
    }
    assert set(contradictions.index) == sizes | equations | sentences
    said = contradictions["tables"]
    assert not contradictions.loc[list(equations), "by_ours"].isin((EXACT, NEAR)).any()  # what the equations give is not what is printed
    assert "110x110" in said["section3c-5x5-mflops"] and "by Eq. 4 29.10 M" in said["eq4-cat"]
    assert "TopFormer 0.24" in said["below-light-flops"] and "ENet" not in said["below-light-flops"]
    assert "BiSeNet 79.13" in said["above-light-patches"] and "ESNet 78.84" in said["above-light-patches"]


def test_the_counts_that_are_not_exact_are_the_known_ones(ledger):
    counts = ledger[ledger["check"].str.match("value (parameters|macs)") & (ledger["verdict"] != EXACT)]
    assert counts["verdict"].to_dict() == {
        "table3-bisenetv2-params-m": UNDECIDED, "table3-erfnet-params-m": NEAR, "table3-topformer-params-m": NEAR,
        "table4-erfnet-gflops-512": NEAR,
    }
    assert ledger.loc["table3-enet-gflops-224", "ours"] == pytest.approx(0.371691264)


def test_a_digit_that_was_read_otherwise_is_said_to_be(ledger):
    misread = ledger[ledger["reason"].str.contains("our copy of the text")]
    assert misread.index.tolist() == ["table3-enet-gflops-224", "table3-a-net-params-m", "table4-enet-gflops-512"]


def test_the_kernels_that_replace_blocks_are_those_of_the_networks_without_them(monkeypatch):
    assert (structure.kernel("no-Light"), structure.kernel("no-Wide")) == (3, 5)
    monkeypatch.setattr(network, "plain", lambda kernel, *_, **__: plain(7, 32))
    assert (structure.kernel("no-Light"), structure.kernel("no-Wide")) == (7, 7)


def test_what_the_printed_settings_give_is_judged_on_the_paper_s_own_kind_of_split(recorded):
    row = recorded.loc["trained-inclusion"]
    run = records.read(records.RESULTS / "runs" / "neu-inclusion-random--A-Net--printed--split0--seed0.json")
    assert (row["printed"], row["ours"], row["verdict"], row["page"]) == ("60.53", run["iou_pooled"], OTHER_MASKS, "protocol")
    assert row["low"] < row["ours"] < row["high"]


def test_every_page_that_is_linked_exists(ledger, recorded):
    pages = {path.stem for path in (ROOT / "book").iterdir() if path.suffix in (".md", ".ipynb")}
    linked = set(ledger["page"]) | set(recorded["page"])
    assert linked - pages == set()


def test_the_table_has_an_anchor_for_every_claim(ledger):
    anchors = re.findall(r'<tr id="([^"]+)">', html(ledger))
    assert anchors == ledger.index.tolist() and cell_id("table3_neu", "DeepLabV3+", "params_m") in anchors
    assert all(re.fullmatch(r"[a-z0-9-]+", anchor) for anchor in anchors)
    assert [re.search('#(.+?)"', place)[1] for place in by_place(ledger).index] == anchors


def rows(table):
    """Heads and cells of a shown table, without their tags."""
    return [[cell.text for cell in row.find_all(("th", "td"))] for row in BeautifulSoup(table.data, "html.parser").find_all("tr")]


@pytest.mark.parametrize("name", PLACES)
def test_every_number_of_a_printed_table_leads_to_its_claim(name):
    links = BeautifulSoup(paper_table(name).data, "html.parser").find_all("a")
    expected = {f"claims.html#{key}": claim.printed for key, claim in cells().items() if claim.where == PLACES[name]}
    assert {link["href"]: link.text for link in links} == expected


def test_a_table_shows_printed_digits_and_intervals():
    table = pd.DataFrame({
        "count": [389768, 3], "printed": [76.08, np.nan], "IoU": [50.123, np.nan], "low": [40, np.nan], "high": [60.5, np.nan],
        "minus A-Net": [2, -1.5], "difference low": [np.nan, -2], "difference high": [np.nan, 0.25], "nothing": [None, None],
    }, index=pd.Index(["A-Net:light", "NoNet"], name="network"))
    shown = show(table, {"printed": "iou/neu-patches"}, decimals=1)
    assert rows(shown) == [
        ["network", "count", "printed", "IoU", "minus A-Net"],
        ["A-Net:light", "389768", "76.08", "50.1 (40.0 to 60.5)", "2.0"],
        ["NoNet", "3", "", "", "-1.5 (-2.0 to 0.2)"],
    ]
    assert [link["href"] for link in BeautifulSoup(shown.data, "html.parser").find_all("a")] == ["claims.html#table2-a-net-light-neu-patches"]


def test_a_claim_whose_computation_fails_stops_the_ledger_and_is_named(results, monkeypatch):
    for check in ("value macs/224 NoNet", "guess", "gap iou/neu-patches A-Net", ""):
        monkeypatch.setattr(claims, "text_claims", lambda check=check: [Claim("wrong-one", "I", "a claim", "1", "", check)])
        with pytest.raises(ValueError, match=f"wrong-one.*{check}"):
            claims.ledger(results)


def test_a_value_that_is_left_empty_and_stands_in_no_table_is_named(monkeypatch):
    row = {"id": "wrong-one", "where": "I", "claim": "a claim", "printed": "", "unit": "", "check": "value macs/224 NoNet"}
    monkeypatch.setattr(paper_cells, "read", lambda name: [row])
    with pytest.raises(ValueError, match="wrong-one.*no table prints macs/224 of NoNet"):
        paper_cells.text_claims()


@pytest.mark.parametrize("printed, value, equal", [
    ("81.27", 81.265, True), ("81.27", 81.264, False), ("25.6", 25.649, True), ("25.6", 25.66, False), ("3.00", 3.0059, False),
    ("1/4", 0.25, True), ("1/4", 0.26, False), ("16", 16, True), ("16", 17, False),
])
def test_equal_means_to_the_last_printed_digit(printed, value, equal):
    assert Claim("a", "", "", printed, "", "").equals(value) == equal


# --- Records that are made to say one thing or the other. ------------------------------------------


@pytest.fixture
def write_runs(tmp_path):
    """Write runs on neu-inclusion whose pictures have a given IoU each, in percent; the folder's evidence."""
    kinds = records.SCHEMA | records.PROTOCOL_SCHEMA
    template = {key: (kind[0] if isinstance(kind, tuple) else kind)() for key, kind in kinds.items()}

    def write(ious, images=30, **changes):
        for model, iou in ious.items():
            values = np.broadcast_to(iou, images)
            confusion = {f"In_{i}": [int(10 * v), 1000 - int(10 * v), 0] for i, v in enumerate(values)}
            record = template | {
                "model": model, "dataset": "neu-inclusion", "protocol": "tuned", "evaluated_on": "test",
                "confusion_images": confusion, "group_images": {name: name for name in confusion},
                "iou_pooled": float(values.mean()),
            } | changes
            name = records.name_of(record)
            records.write(record, tmp_path / "runs" / f"{name}.json")
        return Evidence(tmp_path)

    return write


def judge(evidence, check, printed=""):
    name, *arguments = check.split()
    return claims.CHECKS[name](Claim("a", "", "", printed, "points", check), evidence, *arguments)


NOISE = np.random.default_rng(0).uniform(-20, 20, 30)


@pytest.mark.parametrize("enet, topformer, verdict, reason", [
    (50 + NOISE, 40 + NOISE, CONFIRMED, ""),
    (50 + NOISE, 60 + NOISE[::-1], UNDECIDED, "open against TopFormer"),
    (50 + NOISE, 70 + NOISE, REFUTED, "not against TopFormer"),
    (50 + NOISE, None, NOT_RUN, "no run of TopFormer on neu-inclusion"),
    (70 + NOISE, None, REFUTED, "not against ENet"),
])
def test_an_order_is_judged_from_paired_pictures(write_runs, enet, topformer, verdict, reason):
    ious = {"A-Net": 60 + NOISE, "ENet": enet, "TopFormer": topformer}
    evidence = write_runs({name: iou for name, iou in ious.items() if iou is not None})
    found = judge(evidence, "above iou/neu-inclusion A-Net ENet|TopFormer")
    assert (found.verdict, found.reason) == (verdict, reason)


def test_a_single_lead_has_the_interval_of_the_paired_difference(write_runs):
    evidence = write_runs({"A-Net": 60 + NOISE, "ENet": 58 + NOISE[::-1]})
    found = judge(evidence, "above iou/neu-inclusion A-Net ENet")
    ours, theirs = ([run for run in evidence.records if run["model"] == name] for name in ("A-Net", "ENet"))
    assert (found.ours, found.low, found.high) == pytest.approx(statistics.difference(ours, theirs))
    leads = 2 + NOISE - NOISE[::-1]  # of each picture, all of one size
    assert found.effects == f"{leads.mean() / leads.std(ddof=1):+.2f} on ENet"


@pytest.mark.parametrize("check, printed, verdict", [
    ("value iou/neu-inclusion A-Net", "60.53", OTHER_MASKS),
    ("value iou/neu A-Net", "66.27", NOT_RUN),
    ("value iou/neu-inclusion-random A-Net printed", "60.53", NOT_RUN),
    ("rank iou/neu-inclusion A-Net ENet|TopFormer", "2", CONFIRMED),
    ("rank iou/neu-inclusion A-Net ENet|TopFormer", "3", REFUTED),
    ("gap iou/neu-inclusion A-Net ENet|TopFormer", "10.00", CONFIRMED),
    ("gap iou/neu-inclusion A-Net ENet|TopFormer", "1.15", REFUTED),
    ("competitive iou/neu-inclusion A-Net TopFormer", "", REFUTED),
    ("competitive iou/neu-inclusion A-Net ENet", "", CONFIRMED),
    ("medians iou/neu-inclusion TopFormer ENet", "", CONFIRMED),
    ("diverges neu-inclusion ENet", "-", REFUTED),
])
def test_the_other_questions_put_to_runs(write_runs, check, printed, verdict):
    evidence = write_runs({"A-Net": 60 + NOISE, "ENet": 50 + NOISE, "TopFormer": 70 + NOISE})
    assert judge(evidence, check, printed).verdict == verdict


def test_a_network_that_learns_nothing_is_seen_to(write_runs):
    assert judge(write_runs({"ENet": 0.2}), "diverges neu-inclusion ENet", "-").verdict == CONFIRMED


def test_a_run_that_diverged_is_evidence_of_that_alone(write_runs):
    write_runs({"A-Net": 60 + NOISE, "TopFormer": 50 + NOISE})
    evidence = write_runs({"ENet": 0}, losses=[1.1, np.nan])
    assert judge(evidence, "diverges neu-inclusion ENet", "-").verdict == CONFIRMED
    found = judge(evidence, "above iou/neu-inclusion A-Net ENet|TopFormer|ESNet")
    assert (found.verdict, found.reason) == (NOT_RUN, "no run of ESNet on neu-inclusion; ENet diverged on neu-inclusion")
    assert judge(evidence, "above iou/neu A-Net ENet").reason == (
        "ENet diverged on neu-inclusion; no run of A-Net, ENet on neu-patches and neu-scratches"
    )
    again = write_runs({"ENet": 40 + NOISE}, seed=1)  # one that did not diverge is all that counts
    assert judge(again, "diverges neu-inclusion ENet", "-").verdict == REFUTED


def test_a_median_is_judged_where_networks_that_were_not_run_cannot_change_it(write_runs):
    evidence = write_runs({"SegNet": 30, "UNet": 35, "ENet": 50, "ESNet": 55})
    found = judge(evidence, "medians iou/neu-inclusion SegNet|UNet|PSPNet ENet|ESNet")
    assert (found.verdict, found.ours, found.reason) == (REFUTED, pytest.approx(35 - 52.5), "wherever PSPNet would lie")
    found = judge(evidence, "medians iou/neu-inclusion ENet|ESNet|STDC SegNet|UNet|PSPNet")
    assert (found.verdict, found.ours, found.reason) == (CONFIRMED, pytest.approx(50 - 35), "wherever STDC, PSPNet would lie")
    assert judge(evidence, "medians iou/neu-inclusion SegNet|PSPNet ENet").verdict == NOT_RUN
    diverged = write_runs({"PSPNet": 0}, losses=[0.5, float("nan")])
    assert judge(diverged, "medians iou/neu-inclusion SegNet|PSPNet ENet").ours == pytest.approx(-20)


def test_networks_are_compared_on_the_runs_that_both_have(write_runs):
    write_runs({"A-Net": 60 + NOISE, "ENet": 50 + NOISE})
    evidence = write_runs({"A-Net": 10 + NOISE / 2}, seed=1)
    assert judge(evidence, "value iou/neu-inclusion A-Net", "60.53").ours == pytest.approx((60 + 10) / 2 + 0.75 * NOISE.mean())
    assert judge(evidence, "above iou/neu-inclusion A-Net ENet").ours == pytest.approx(10)


def test_runs_on_other_pictures_are_not_compared(write_runs):
    write_runs({"A-Net": 60})
    with pytest.raises(ValueError, match="not tested on the same images of neu-inclusion"):
        judge(write_runs({"ENet": 50}, images=20), "above iou/neu-inclusion A-Net ENet")
    write_runs({"TopFormer": 50}, seed=3)
    found = judge(write_runs({}), "above iou/neu-inclusion A-Net TopFormer")
    assert (found.verdict, found.reason) == (NOT_RUN, "no split and seed by which all of them were run")


def test_speeds_come_from_the_timings(tmp_path):
    (tmp_path / "timing").mkdir()
    path = tmp_path / "timing" / "somewhere.csv"
    speeds = {"A-Net": 100, "ENet": 90, "ERFNet": 60}
    rows = [("OpenVINO", name, "f32", threads, fps * threads) for name, fps in speeds.items() for threads in (1, 2)]
    rows += [("OpenVINO", "ENet", "bf16", 2, 900), ("torch", "ENet", "f32", 2, 900)]
    path.write_text("runtime,network,precision,threads,fps\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    evidence = Evidence(tmp_path)
    assert judge(evidence, "value fps/linux A-Net", "284.8").ours == 200
    assert judge(evidence, "above fps/linux A-Net ENet|ERFNet").verdict == CONFIRMED
    assert judge(evidence, "times fps/linux A-Net ERFNet").verdict == REFUTED  # 1.7 times
    assert judge(evidence, "above fps/linux A-Net light").verdict == NOT_RUN
    assert judge(evidence, "value fps/windows A-Net", "224.3").verdict == NOT_RUN
    for name, ahead in (("other", 2), ("third", 1.1)):  # on each machine A-Net as much faster than there
        (tmp_path / "timing" / f"{name}.csv").write_text(path.read_text().replace("A-Net,f32,2,200", f"A-Net,f32,2,{round(200 * ahead)}"))
    lead = judge(Evidence(tmp_path), "above fps/linux A-Net ENet")
    assert (lead.low, lead.ours, lead.high, lead.verdict) == (20, 40, 220, CONFIRMED)
    path.write_text("network,fps\nA-Net,100\n")
    with pytest.raises(ValueError, match="somewhere.csv lacks the columns precision, runtime, threads"):
        Evidence(tmp_path)


def test_a_stage_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="Up of stage S5 on the way up"):
        structure.stage_value("up", "S5", "Up", "c_in")


def test_a_best_balance_is_judged_against_what_is_printed_to_cost_less(recorded):
    rows = recorded.loc[["balance-neu", "balance-speed"]]
    assert set(rows["verdict"]) == {REFUTED} and (rows["high"] < 0).all()
    assert rows["reason"].tolist() == [
        "not against ENet; cheaper as printed: ENet, TopFormer; by work done: TopFormer",
        "not against ENet; cheaper as printed: ENet; timed in float32: ENet, TopFormer",
    ]


def test_of_several_rivals_the_intervals_hold_at_once():
    values = pd.Series([0.5, *np.linspace(0, 1, 10_001)])
    assert interval(values) == pytest.approx((0.5, 0.025, 0.975)) and interval(values, 5) == pytest.approx((0.5, 0.005, 0.995))
