"""What the README and the settings promise."""

import builtins
import dis
import importlib
import json
import re
import subprocess
import sys
import types
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from packaging.requirements import Requirement

from anet_core import build, complexity, measurements, records, timing
from anet_core.grid import LIGHT, NEU
from anet_core.paper import printed_iou
from anet_core.paper.cells import printed
from anet_core.protocol import PRINTED, TUNED
from anet_core.registry import EXTENSIONS, PEERS
from anet_core.standings import runs_by_network, standings, verdicts
from anet_core.statistics import alike, bootstrap_iou_pooled, by_pictures, deviations, difference, difference_over_sets, hinges, rank_by_chance, shared
from data_prep.neu import surface_groups

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


def test_the_ious_of_the_readme_are_recorded_and_its_parameters_counted():
    said, iou = (ROOT / "README.md").read_text().split("![")[0].rsplit("\n\n", 2)[:2]
    assert f"{complexity.parameters(build('A-Net')):,} parameters" in said
    assert f"the printed rate, {PRINTED.learning_rate:g}," in said and f"warms up to {TUNED.learning_rate:g} and" in readme()
    of_way = {way: rows.itertuples() for way, rows in answer.estimates().groupby("way")}
    lines = {"as the paper prints it": [f"{printed_iou('A-Net', name)}" for name in NEU]}
    lines |= {way: [f"{row.iou:.1f} ({row.low:.1f} to {row.high:.1f})" for row in of_way[way]] for way in list(answer.WAYS)[:3]}
    assert rows_of(iou) == [[name, *cells] for name, cells in lines.items()]
    assert [(estimate.way, estimate.runs) for estimate in answer.estimates().itertuples() if estimate.runs > 1] == [(list(answer.WAYS)[2], n) for n in (8, 6, 6)]


def test_the_milliseconds_of_the_readme_are_recorded():
    table = (ROOT / "README.md").read_text().split("on two cores of an AMD EPYC (Zen 4)")[1].split("\n\n")[1]
    recorded = timing.recorded("amd-epyc-zen-4-2-cores").query("threads == 2")
    times, cpp = (recorded[recorded["runtime"] == runtime].pivot(index="network", columns="precision", values="median_ms") for runtime in ("OpenVINO", "C++"))
    times = pd.concat((times, cpp.rename("{}, in C++".format)))
    for name, *cells in rows_of(table):
        row = times.loc[name.split(", as")[0]].dropna()
        assert cells == [f"{row[precision]:.2f}" if precision in row else "" for precision in ("f32", "bf16", "int8")]
    assert (times.loc["A-Net, in C++"].min() < times.loc[list(LIGHT)].min(axis=1)).all() and "than any of the seven networks of Fig. 7 in OpenVINO" in readme()
    assert [name for name in timing.machines() if (timing.recorded(name)["runtime"] == "C++").any()] == ["amd-epyc-zen-4-2-cores"]  # "on the one processor"


def rows_of(table):
    """The cells of a Markdown table below its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]


@pytest.fixture(scope="module")
def runs():
    """The recorded runs on the three sets of NEU, set by set."""
    recorded = records.read_all(ROOT / "results" / "runs")
    return [runs_by_network(recorded, dataset, "tuned") for dataset in NEU]


def over_sets(runs, one, other="A-Net", comparisons=1):
    return difference_over_sets(*([of_set[name] for of_set in runs] for name in (one, other)), comparisons)


def sides(runs, names, comparisons=1):
    """The networks ahead of A-Net over the three sets, and those behind it."""
    found = {name: over_sets(runs, name, comparisons=comparisons) for name in names}
    return [name for name in names if found[name][1] > 0], [name for name in names if found[name][2] < 0]


def readme():
    return " ".join((ROOT / "README.md").read_text().split())


def found(claim):
    """What the README's table of claims says of one: the finding, and whether the claim holds up."""
    table = (ROOT / "README.md").read_text().split("| the paper says |")[1].split("\n\n")[0]
    [cells] = [row[1:] for row in rows_of(table) if row[0] == claim]
    return cells


def with_interval(numbers, form="+"):
    mean, low, high = numbers
    return f"{mean:{form}.1f} ({low:.1f} to {high:.1f})"


def test_the_readme_says_how_the_others_stand_to_a_net_over_the_three_sets(runs):
    on_all = [name for name in PEERS if all(name in of_set for of_set in runs)]
    ahead, behind = sides(runs, on_all)
    assert (ahead, behind) == (["ERFNet", "ENet"], ["UNet", "BiSeNet"])
    said, holds = found("it surpasses the other light networks")
    mean, low, high = over_sets(runs, "ERFNet")
    undecided = " and ".join(", ".join(name for name in PEERS if name in LIGHT and name not in ahead + behind).rsplit(", ", 1))
    assert holds == "no, as built here" and said == f"ENet is ahead of it, and ERFNet, by one run a set, by {mean:.1f} points ({low:.1f} to {high:.1f}), which other runs could undo; BiSeNet is behind it, and {undecided} are open"
    of_pictures = [{name: [by_pictures(run) for run in of_one] for name, of_one in of_set.items()} for of_set in runs]
    assert sides(of_pictures, on_all)[1] == ["SegNet", "UNet", "BiSeNet", "BiSeNetV2", "TopFormer"]
    assert sides(of_pictures, on_all, len(on_all))[1] == ["BiSeNet", "TopFormer"] and [len(of_set["ERFNet"]) for of_set in runs] == [1, 1, 1]
    assert "By the mean over pictures SegNet, UNet, BiSeNet, BiSeNetV2 and TopFormer are behind A-Net, each compared by itself, and BiSeNet and TopFormer where all are at once" in readme()
    by_set = [difference(of_set["UNet"], of_set["A-Net"]) for of_set in runs]
    apart = "{:+.1f} on inclusions, {:+.1f} on patches and {:+.1f} on scratches".format(*(mean for mean, *_ in by_set))
    unet = over_sets(runs, "UNet")
    assert found("it keeps up with UNet, of eighty times its size") == [
        "by six splits of inclusions and of patches and one of scratches UNet is behind it by "
        f"{-unet[0]:.1f} points ({-unet[2]:.1f} to {-unet[1]:.1f}): {apart}; only on patches does that tell the two apart", "yes",
    ]
    assert unet[2] < 0 and [low > 0 or high < 0 for _, low, high in by_set] == [False, True, False] and [len(of_set["UNet"]) for of_set in runs] == [6, 6, 1]
    mean, low, high = over_sets(runs, "ENet")
    pairs = [a["iou_pooled"] > b["iou_pooled"] for of_set in runs for a, b in zip(*shared(of_set["ENet"], of_set["A-Net"]))]
    assert found("it has the best balance of precision and lightness") == [
        f"ENet, as small and with fewer printed FLOPs, has {mean:.1f} points more ({low:.1f} to {high:.1f}), and more in each of {len(pairs)} pairs of runs", "no, as built here",
    ]
    assert low > 0 and all(pairs) and printed("macs/224", "ENet") < printed("macs/224", "A-Net")
    with torch.device("meta"):
        assert complexity.true_macs(build("A-Net"), 224) < complexity.true_macs(build("ENet"), 224)  # by the work really done
    recorded = records.read_all(ROOT / "results" / "runs")
    lost = [set(runs_by_network(recorded, dataset, "tuned", lost=True)) for dataset in NEU]
    assert lost == [{"FCN", "RefineNet"}, {"RefineNet"}, {"FCN", "RefineNet"}]
    assert "FCN diverged on inclusions and scratches, and RefineNet on all three" in readme()
    assert all(of_set.keys() | diverged >= PEERS.keys() for of_set, diverged in zip(runs, lost)) and "trains them" in readme()


def test_the_readme_says_what_the_parts_bring(runs):
    parts = {"its Light and Wide blocks": ("A-Net:light+wide", "A-Net:none"), "its jump connection": ("A-Net:light+wide+jump", "A-Net:light+wide"), "its seg head": ("A-Net", "A-Net:light+wide+jump")}
    jumps = [difference(of_set["A-Net:light+wide+jump"], of_set["A-Net:light+wide"]) for of_set in runs]
    assert [low > 0 for _, low, _ in jumps] == [True, False, False]
    for (part, pair), holds, more in zip(parts.items(), ("yes", "yes", "not found"), (", more than is printed", "; set by set it is found on inclusions only", "")):
        of_table = np.mean([printed_iou(pair[0], dataset) - printed_iou(pair[1], dataset) for dataset in NEU])
        numbers = over_sets(runs, *pair)
        said = [with_interval(numbers) + more, holds]
        assert found(f"{part} {'bring' if part.endswith('s') else 'brings'} {of_table:+.1f} points") == said and (numbers[1] > 0) == (holds == "yes") and numbers[2] > 0
        assert (numbers[1] > of_table) == more.startswith(", more")


def test_what_another_reading_of_the_text_gives_is_as_the_readme_says(runs):
    (gain, low, high), lead = over_sets(runs, "A-Net:sum-last", "A-Net"), over_sets(runs, "ENet", "A-Net:sum-last")
    pairs = [[pair for pair in zip(*shared(of_set["A-Net:sum-last"], of_set["A-Net"]))] for of_set in runs]
    on_one_kind = [[pair for pair in of_set if pair[0]["processor"] == pair[1]["processor"]] for of_set in pairs]
    alike_by = difference_over_sets(*zip(*(map(list, zip(*of_set)) for of_set in on_one_kind)))
    counts = [sum(map(len, of_sets)) for of_sets in (on_one_kind, pairs)]
    assert low > 0 > alike_by[1] and f"It is ahead of A-Net as built here by {gain:.1f} points ({low:.1f} to {high:.1f}; " in readme()
    assert "over the {} of {} pairs whose two runs had the same make of CPU {:.1f}, {:.1f} to {:.1f})".format(*counts, *alike_by) in readme()
    assert lead[1] < 0 < lead[2] and f"ENet differs from it by {with_interval(lead)}: then the balance is open" in readme()
    mean, low, high = over_sets(runs, "UNet", "A-Net:sum-last")
    assert high < 0 and f"UNet is further behind it, by {-mean:.1f} points ({-high:.1f} to {-low:.1f})" in readme()
    assert [len(of_set["A-Net:sum-last"]) for of_set in runs] == [6, 6, 6] and "on six splits of each set" in readme()
    ratios = measurements.recorded("rewrites", "amd-epyc-zen-4-2-cores").query("threads == 2").pivot(index="network", columns="precision", values="ratio")
    against = ratios.loc["A-Net:sum-last, rewritten"] / ratios.loc["ENet"]
    assert f"rewritten it is {against['f32']:.2f} times as fast as ENet in f32 and {against['bf16']:.2f} times in bf16 on the EPYC; in C++ it takes as long as A-Net" in readme()
    assert (abs(ratios.loc["A-Net:sum-last, in C++"] / ratios.loc["A-Net, in C++"] - 1).dropna() < 0.05).all()


def test_few_verdicts_of_one_set_remain_where_all_networks_are_compared_at_once(runs):
    """As the full answer says: none on inclusions, where each hangs on a surface."""
    for of_set, remaining in zip(runs, ([], ["FCN", "UNet", "TopFormer"], ["BiSeNet"])):
        names = [name for name in (*PEERS, *EXTENSIONS) if name in of_set]
        split0 = alike({name: of_set[name] for name in ("A-Net", *names)})
        at_once = {name: difference(split0[name], split0["A-Net"], len(names)) for name in names}
        assert [name for name, (_, low, high) in at_once.items() if low > 0 or high < 0] == remaining
    of_inclusions = runs[0]
    said = verdicts(standings(["A-Net", *PEERS], NEU[0], of_inclusions))
    assert said["ahead"] + said["behind"] and all(hinges(of_inclusions[name], of_inclusions["A-Net"]) for name in said["ahead"] + said["behind"])


def test_quarternet_cannot_be_told_from_a_net(runs):
    """As the README says."""
    for dataset, of_set, count in zip(NEU, runs, (7, 6, 6)):
        table = standings(["A-Net", "QuarterNet"], dataset, of_set)
        assert verdicts(table)["undecided"] == ["QuarterNet"] and table.loc["QuarterNet", "runs"] == count


def test_the_printed_order_cannot_be_told_from_chance(runs):
    """As the full answer says."""
    for dataset, of_set in zip(NEU, runs):
        compared = {name: iou for name in ("A-Net", *PEERS) if name in of_set and (iou := printed_iou(name, dataset)) is not None}
        assert rank_by_chance(alike({name: of_set[name] for name in compared}), compared) > 0.05


def test_which_networks_are_faster_than_a_net():
    """As the README and the full answer say."""
    ratios = []
    for machine in timing.machines():
        times = timing.recorded(machine).query("runtime == 'OpenVINO'")
        times = times[times["threads"] == times["threads"].max()].pivot(index="network", columns="precision", values="median_ms")
        assert (times.loc["TopFormer"] < times.loc[["A-Net", "A-Net, rewritten"]].min()).all()
        ratios.append(round(times.loc["A-Net", "f32"] / times.loc["TopFormer", "f32"], 1))
        others = times.loc[list(LIGHT), "f32"]
        if "with-amx" in machine:
            ahead = times.loc[list(LIGHT), "int8"] < times.loc["A-Net, rewritten", "int8"]
            assert ahead.sum() == 6 == len(LIGHT) - 1 and "six of the seven networks of Fig. 7 are faster than A-Net rewritten in int8" in readme()
        assert {own: set(others.index[others < times.loc[own, "f32"]]) for own in ("A-Net", "A-Net, rewritten")} == {
            "A-Net": {"ENet", "TopFormer"}, "A-Net, rewritten": {"TopFormer"},
        }
        one = timing.recorded(machine).query("runtime == 'OpenVINO' and threads == 1 and precision == 'f32'").set_index("network")["ratio"]
        assert 0.95 < one["A-Net, rewritten"] / one["ENet"] < 1.05  # on one thread about level, as the full answer says
    said, holds = found("only ENet is faster on a CPU")
    assert len(ratios) == 4 and holds == "no" and said.startswith(f"in float32 TopFormer is, too, {min(ratios)} to {max(ratios)} times as fast on each of four processors; rewritten")
    assert all(printed(f"fps/{system}", "TopFormer") < printed(f"fps/{system}", "A-Net") for system in ("windows", "linux"))


def test_the_steel_that_the_rate_was_chosen_by_is_as_the_readme_says(runs):
    [chosen, *_] = [json.loads(path.read_text()) for path in sorted((ROOT / "results" / "tuning" / "by-chance").glob("*.json"))]
    surface = surface_groups(NEU[0])
    steel = {surface[image] for image in chosen["iou_images"]}
    seen = sorted(sum(surface[image] in steel for image in run["iou_images"]) for run in runs[0]["A-Net"])
    assert f"{seen[0]} to {seen[-1]} of the 50 test pictures of inclusions show steel that is also in the pictures it was chosen on" in readme()


def test_the_printed_rate_is_as_the_readme_says():
    recorded, apart = records.read_all(ROOT / "results" / "runs"), []
    for dataset in NEU:
        as_printed = runs_by_network(recorded, f"{dataset}-random", "printed")
        assert list(as_printed) == ["A-Net", "ENet"]
        apart.append(difference(as_printed["ENet"], as_printed["A-Net"])[0])
    assert apart[0] < 0 < apart[1] and apart[2] < 0
    assert f"ENet ends {-apart[0]:.1f} points behind on inclusions, where it hardly starts, {apart[1]:.1f} ahead on patches and {-apart[2]:.1f} behind on scratches" in readme()


def test_what_the_norms_had_lost_is_as_the_readme_says():
    def of_printed(model, dataset):
        return records.read(ROOT / "results" / "recalibrated" / "runs" / f"{records.run_name(model, f'{dataset}-random', 'printed')}.json")

    assert all(difference([of_printed("ENet", name)], [of_printed("A-Net", name)])[2] < 0 and printed_iou("A-Net", name) > printed_iou("ENet", name) for name in NEU)
    said, name = readme(), f"{records.run_name('A-Net', 'neu-patches-random', 'printed')}.json"
    again, anew = (records.read(ROOT / "results" / "processor" / folder / name) for folder in ("runs", "recalibrated/runs"))
    first, enet = (records.read(ROOT / "results" / "runs" / f"{records.run_name(model, 'neu-patches-random', 'printed')}.json") for model in ("A-Net", "ENet"))
    assert again["processor"] == enet["processor"] != first["processor"]
    assert f"A-Net by the printed rate, which stops short, {difference([again], [first])[0]:.1f} higher on a CPU" in said
    assert f"trained on a CPU, as ENet was, A-Net reaches {again['iou_pooled']:.1f} % for {first['iou_pooled']:.1f}, and ENet is {difference([enet], [again])[0]:.1f} points ahead" in said
    on_gpu, on_cpu = (difference([of_printed("ENet", "neu-patches")], [ours]) for ours in (of_printed("A-Net", "neu-patches"), anew))
    assert on_cpu[1] < 0 < on_cpu[2] and "as is printed, and on patches by {:.1f} points ({:.1f} to {:.1f}) or, trained on a CPU, as ENet was, by {:.1f} ({:.1f} to {:.1f}), which cannot tell".format(
        *(-x + 0 for numbers in (on_gpu, on_cpu) for x in (numbers[0], numbers[2], numbers[1]))) in said


def test_the_magnetic_tiles_are_as_the_readme_says():
    of_tiles = runs_by_network(records.read_all(ROOT / "results" / "runs"), "magnetic-tile", "tuned")
    [ours], [unet] = of_tiles["A-Net"], of_tiles["UNet"]
    low, high = bootstrap_iou_pooled(ours)
    assert f"A-Net reaches {ours['iou_pooled']:.1f} % ({low:.1f} to {high:.1f}) and UNet {unet['iou_pooled']:.1f}, or "\
        f"{ours['iou_image_mean']:.1f} and {unet['iou_image_mean']:.1f} by the mean over pictures, by settings chosen on steel" in readme()



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


def test_every_file_of_the_packages_has_its_place():
    tables = (ROOT / "CONTRIBUTING.md").read_text().split("## Find your way")[1].split("\n## ")[0].split("\n|---|---|\n")[1:]
    for name, table in zip(("anet_core", "data_prep"), tables, strict=True):
        files = [path.stem for path in (ROOT / name).glob("[!_]*.py")] + [f"{path.parent.name}/" for path in (ROOT / name).glob("*/*.py")]
        assert sorted(re.findall(r"`([a-z_0-9]+/?)`", table.split("\n\n")[0])) == sorted(set(files))


def test_book_finds_its_settings():
    for name in ("_config.yml", "_toc.yml"):
        assert (ROOT / "book" / name).resolve() == ROOT / name


SCRIPTS = [path for folder in ("anet_core", "data_prep", "workflow") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_name_that_a_function_takes_from_its_file_is_there(path):
    """Also in scripts that measure for half an hour, which no test runs."""
    name = path.stem if path.parent.name == "workflow" else ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    codes, names = [compile(path.read_text(), path, "exec")], {"LOAD_GLOBAL": set(), "STORE_GLOBAL": set()}
    for code in codes:
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        for step in dis.get_instructions(code):
            names.get(step.opname, set()).add(step.argval)
    assert names["LOAD_GLOBAL"] <= vars(importlib.import_module(name)).keys() | vars(builtins).keys() | names["STORE_GLOBAL"]


def test_nothing_imports_from_notebooks_workflow_or_book_and_data_prep_stands_alone():
    for folder, forbidden in (("anet_core", "workflow|notebooks|book"), ("data_prep", "anet_core|workflow|notebooks|book")):
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(rf"^\s*(from|import) ({forbidden})\b", path.read_text(), re.MULTILINE), path


def test_what_a_second_seed_moves_is_as_the_readme_says(runs):
    between, within = deviations(runs[0]["A-Net"])
    assert f"The means of A-Net's splits of the inclusions have a standard deviation of {between:.1f} points, three seeds on one split of {within:.1f}" in readme()
    again = sorted((name, NEU[i]) for i, of_set in enumerate(runs) for name, of_one in of_set.items() if any(run["seed"] for run in of_one))
    assert again == [(name, NEU[0]) for name in ("A-Net", "ENet", "QuarterNet")]


def test_what_a_split_moves_is_as_the_readme_says(runs):
    """Of single runs a set: by how much the differences of networks that were run on six splits scatter from split to split."""
    scatter = []
    for one, other in combinations(("A-Net", "ENet", "A-Net:sum-last"), 2):
        pairs = [[a["iou_pooled"] - b["iou_pooled"] for a, b in zip(*shared(of_set[one], of_set[other])) if a["seed"] == 0] for of_set in runs]
        scatter.append(1.96 * sum(np.var(apart, ddof=1) for apart in pairs) ** 0.5 / len(NEU))
    assert f"single runs on other splits would move a difference over the three sets by {min(scatter):.1f} to {max(scatter):.1f} points" in readme()


def test_what_the_networks_were_trained_on_is_as_the_first_pages_say(runs):
    """Those behind A-Net on a set were trained on GPUs, but for two."""
    on_gpu = {(name, dataset): of_one[0]["processor"].startswith("NVIDIA") for dataset, of_set in zip(NEU, runs) for name, of_one in of_set.items()}
    behind = [(name, dataset) for dataset, of_set in zip(NEU, runs) for name in verdicts(standings(["A-Net", *PEERS], dataset, of_set))["behind"]]
    assert [pair for pair in behind if not on_gpu[pair]] == [("BiSeNet", NEU[0]), ("FCN", NEU[1])]
    recorded = [run for run in records.read_all(ROOT / "results" / "processor" / "runs") if run["protocol"] == "tuned"]
    again = {run["model"]: run for run in recorded if run["dataset"] == NEU[1]}
    moved = {name: difference([run], [first for first in runs[1][name] if first["split_seed"] == 0]) for name, run in again.items()}
    assert all(on_gpu[name, NEU[1]] != run["processor"].startswith("NVIDIA") for name, run in again.items()) and list(moved) == ["ENet", "TopFormer"]
    [elsewhere] = [run for run in recorded if run["dataset"] == NEU[2]]
    on_scratches = difference([elsewhere], runs[2][elsewhere["model"]])[0]
    assert elsewhere["model"] == "TopFormer" and on_gpu["TopFormer", NEU[2]]
    assert (
        f"ENet came out {-moved['ENet'][0]:.1f} points lower on a GPU and TopFormer {moved['TopFormer'][0]:.1f} higher on a CPU, "
        f"and there on scratches {on_scratches:.1f} ([which]"
    ) in readme()
    low, high = difference([again["TopFormer"]], [first for first in runs[1]["A-Net"] if first["split_seed"] == 0])[1:]
    assert ("TopFormer", NEU[1]) in behind and low < 0 < high
    large = [gpu for (name, _), gpu in on_gpu.items() if name in PEERS and name not in LIGHT]
    assert sum(large) > len(large) / 2 and not any(on_gpu["A-Net", dataset] for dataset in NEU)
    for dataset in NEU[1:]:
        light = [on_gpu[name, dataset] for name in LIGHT]
        assert sum(light) > len(light) / 2
