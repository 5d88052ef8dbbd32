"""What the README and the settings promise."""

import re
import subprocess
import sys

import yaml
from packaging.requirements import Requirement

from anet_core import build, complexity, records, timing
from anet_core.grid import NEU
from anet_core.paper import printed_iou
from anet_core.protocol import PRINTED, TUNED
from anet_core.registry import PEERS
from anet_core.standings import runs_by_network, standings, verdicts
from anet_core.statistics import alike, hinges, rank_correlation

from conftest import ROOT

sys.path.insert(0, str(ROOT / "workflow"))
import answer  # noqa: E402


def lock():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_everything_is_pinned():
    assert all(str(requirement.specifier).startswith("==") for requirement in lock())


def test_environment_yml_installs_the_same_lock():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert dependencies[-1] == {"pip": ["-r requirements.lock", "-e ."]}
    assert all(re.split("[=<>]", name)[0] in ("python", "pip") for name in dependencies[:-1])


def test_the_running_environment_is_the_lock():
    frozen = subprocess.run([sys.executable, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    installed = dict(line.split("==") for line in frozen.lower().replace("_", "-").splitlines() if "==" in line)
    different = [
        str(requirement) for requirement in lock()
        if installed.get(requirement.name.lower().replace("_", "-"), "").split("+")[0] != str(requirement.specifier)[2:]
    ]
    assert different == []


def test_every_number_in_the_answer_of_the_readme_is_recorded_or_counted():
    answered = (ROOT / "README.md").read_text().split("**Does it hold up?**")[1].split("![")[0]
    said, iou = answered.split("|", 1)
    rates = {f"{protocol.learning_rate:g}" for protocol in (PRINTED, TUNED)}
    assert set(re.findall(r"\b\d[\d,]*(?:\.\d+)?", said)) == {f"{complexity.parameters(build('A-Net')):,}", *rates}
    of_way = {way: rows.itertuples() for way, rows in answer.estimates().groupby("way")}
    lines = {"as the paper prints it": [f"{printed_iou('A-Net', name)}" for name in NEU]}
    lines |= {way: [f"{row.iou:.1f} ({row.low:.1f} to {row.high:.1f})" for row in of_way[way]] for way in list(answer.WAYS)[:3]}
    assert rows_of(iou) == [[name, *cells] for name, cells in lines.items()]


def test_the_milliseconds_of_the_readme_are_recorded():
    table = (ROOT / "README.md").read_text().split("on two cores of an AMD EPYC")[1].split("\n\n")[1]
    times = timing.recorded("amd-epyc-2-cores").query("runtime == 'OpenVINO' and threads == 2")
    times = times.pivot(index="network", columns="precision", values="median_ms")
    for name, *cells in rows_of(table):
        assert cells == [f"{times.loc[name.split(', as')[0], precision]:.2f}" for precision in ("f32", "bf16", "int8")]


def rows_of(table):
    """The cells of a Markdown table below its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]


def test_the_readme_says_which_networks_are_ahead_of_a_net_and_behind_it():
    recorded = records.read_all(ROOT / "results" / "runs")
    runs = runs_by_network(recorded, "neu-inclusion", "tuned")
    lost = runs_by_network(recorded, "neu-inclusion", "tuned", lost=True)
    said = verdicts(standings(["A-Net", *PEERS], "neu-inclusion", runs, lost=lost))
    text = " ".join((ROOT / "README.md").read_text().split())
    ahead, behind, undecided = (" and ".join(", ".join(said[key]).rsplit(", ", 1)) for key in ("ahead", "behind", "undecided"))
    assert f"one run each puts {ahead} ahead of it and {behind} behind it, either undecided without one surface or another, cannot tell it from {undecided}, and" in text
    assert all(hinges(runs[name], runs["A-Net"]) for name in said["ahead"] + said["behind"])
    elsewhere = {name: runs_by_network(recorded, name, "tuned") for name in NEU[1:]}
    found = {name: verdicts(standings(["A-Net", *PEERS], name, runs)) for name, runs in elsewhere.items()}
    assert {name: (one["ahead"], one["behind"]) for name, one in found.items()} == {
        "neu-patches": ([], ["DeepLabV3+", "UNet", "TopFormer"]), "neu-scratches": ([], ["BiSeNet"]),
    }
    again = standings(["A-Net", "ENet"], "neu-patches", elsewhere["neu-patches"])
    assert verdicts(again)["ahead"] == ["ENet"] and again.loc["ENet", "runs"] == 3
    assert said["diverged"] == ["FCN"] and said["not run"] == ["RefineNet"]
    assert "says nothing of FCN, which diverged at that rate, and of RefineNet, which is still to be run" in text


def test_networks_that_are_printed_far_below_the_rest_are_not_so_here():
    """As the README says."""
    found = []
    for dataset in NEU:
        runs = runs_by_network(records.read_all(ROOT / "results" / "runs"), dataset, "tuned")
        table = standings(["A-Net", *PEERS], dataset, runs)
        far = table[(table["printed"] < table["printed"].median() - 15) & (table["runs"] > 0)]
        assert (far["IoU"] > table["IoU"].median() - 5).all()
        found += [(name, dataset) for name in far.index]
    assert found == [("PGANet", "neu-inclusion"), *(("BiSeNetV2", dataset) for dataset in NEU), ("ERFNet", "neu-scratches")]


def test_quarternet_cannot_be_told_from_a_net():
    """As the README says."""
    for dataset in NEU:
        runs = runs_by_network(records.read_all(ROOT / "results" / "runs"), dataset, "tuned")
        table = standings(["A-Net", "QuarterNet"], dataset, runs)
        assert verdicts(table)["undecided"] == ["QuarterNet"] and table.loc["QuarterNet", "runs"] == (6 if dataset == "neu-inclusion" else 1)


def test_the_printed_order_is_found_in_part_on_inclusions_and_not_on_the_others():
    """As the introduction says."""
    found = {}
    for dataset in NEU:
        runs = runs_by_network(records.read_all(ROOT / "results" / "runs"), dataset, "tuned")
        compared = {name: iou for name in ("A-Net", *PEERS) if name in runs and (iou := printed_iou(name, dataset)) is not None}
        _, low, high = rank_correlation(alike({name: runs[name] for name in compared}), compared)
        found[dataset] = low > 0 or high < 0
    assert found == {"neu-inclusion": True, "neu-patches": False, "neu-scratches": False}


def test_topformer_is_faster_than_a_net_on_each_machine_and_in_each_precision():
    """As the introduction says."""
    for machine in timing.machines():
        times = timing.recorded(machine).query("runtime == 'OpenVINO'")
        times = times[times["threads"] == times["threads"].max()].pivot(index="network", columns="precision", values="median_ms")
        assert (times.loc["TopFormer"] < times.loc[["A-Net", "A-Net, rewritten"]].min()).all()


def test_the_figure_of_the_readme_is_that_of_the_recorded_runs(tmp_path):
    answer.draw(tmp_path / "answer.svg")
    assert (tmp_path / "answer.svg").read_text() == answer.FILE.read_text(), "run python workflow/answer.py"
    shown = (ROOT / "README.md").read_text().split("![")[1].split("](")[1].split(")")[0]
    assert ROOT / shown == answer.FILE


def test_the_table_of_contents_lists_every_page():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    listed = [toc["root"], *(page["file"] for chapter in chapters for page in (chapter, *chapter.get("sections", [])))]
    pages = [path.stem for path in (ROOT / "book").iterdir() if path.suffix in (".md", ".ipynb")]
    assert sorted(listed) == sorted(pages)


def test_every_file_of_the_package_has_its_place():
    table = (ROOT / "CONTRIBUTING.md").read_text().split("## Find your way")[1].split("\n## ")[0].split("|---|")[1]
    package = ROOT / "anet_core"
    files = [path.stem for path in package.glob("[!_]*.py")] + [f"{path.parent.name}/" for path in package.glob("*/*.py")]
    assert sorted(re.findall(r"`([a-z_0-9]+/?)`", table)) == sorted(set(files))


def test_book_finds_its_settings():
    for name in ("_config.yml", "_toc.yml"):
        assert (ROOT / "book" / name).resolve() == ROOT / name


def test_nothing_imports_from_notebooks_workflow_or_book_and_data_prep_stands_alone():
    for folder, forbidden in (("anet_core", "workflow|notebooks|book"), ("data_prep", "anet_core|workflow|notebooks|book")):
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(rf"^\s*(from|import) ({forbidden})\b", path.read_text(), re.MULTILINE), path
