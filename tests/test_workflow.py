"""The Snakefile on a toy grid: killed, resumed, cloned."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT, draw

pytestmark = pytest.mark.skipif(importlib.util.find_spec("snakemake") is None, reason="snakemake is not installed")

TOY = """

from dataclasses import replace

from anet_core.protocol import PROTOCOLS, QUICK

PROTOCOLS["toy"] = replace(QUICK, name="toy", iterations=80, batch_size=4)
GRID = [Cell("A-Net", "squares", "toy", seed=seed) for seed in (0, 1)]
"""

TOY_PAGES = """

PAGES = {page: PAGES[page] for page in ("claims", "network")}
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with this code whose grid is two short runs on a small data set, and whose book two pages."""
    folder = tmp_path / "checkout"
    for name in ("anet_core", "data_prep", "notebooks", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    shutil.copytree(ROOT / "book", folder / "book", ignore=lambda _, names: [n for n in names if not n.endswith(".ipynb")])
    for path, addition in ((folder / "anet_core" / "grid.py", TOY), (folder / "workflow" / "pages.py", TOY_PAGES)):
        path.write_text(path.read_text() + addition)
    draw(tmp_path / "data" / "squares")
    monkeypatch.setenv("ANET_DATA", str(tmp_path / "data"))
    git("init", "--quiet", cwd=folder)
    commit(folder)
    return folder


def git(*arguments, cwd):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=cwd, check=True)


def commit(folder):
    (folder / ".gitignore").write_text("__pycache__/\n.snakemake/\nresults/checkpoints/\n")
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--message", "all", cwd=folder)


def start(folder, *arguments, module="snakemake"):
    """A process of its own group, so that all it starts can be killed with it."""
    options = ("--workflow-profile", "local", "--cores", "1") if module == "snakemake" else ()
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments, *options], cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )


def said(process):
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def planned(folder):
    """What a dry run says of the whole workflow."""
    return said(start(folder, "--dry-run"))


def test_killed_resumed_and_cloned(checkout, tmp_path):
    """A real SIGKILL of all processes while the second cell trains."""
    runs, checkpoints = (checkout / "results" / name for name in ("runs", "checkpoints"))
    process = start(checkout, "cells")
    while process.poll() is None and not (list(runs.glob("*.json")) and list(checkpoints.glob("*.pt"))):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    [first] = runs.glob("*.json")
    written = first.stat().st_mtime_ns
    assert "at iteration 50 of 80; run resumes it" in said(start(checkout, "status", module="anet_core.campaign"))

    said(start(checkout, "--unlock"))
    output = said(start(checkout, "cells"))
    assert " 51/80 " in output and " 50/80 " not in output
    assert first.stat().st_mtime_ns == written and len(list(runs.glob("*.json"))) == 2 and not list(checkpoints.glob("*.pt"))

    plan = planned(checkout)
    assert "page=claims" in plan and "page=network" not in plan and "rule cell:" not in plan
    commit(checkout)
    git("clone", "--quiet", str(checkout), "clone", cwd=tmp_path)
    clone = tmp_path / "clone"
    for made in (*clone.glob("results/runs/*"), *clone.glob("book/*")):
        os.utime(made, (1e9, 1e9))
    assert "Nothing to be done" in planned(clone)
    with (clone / "notebooks" / "network.ipynb").open("a") as file:
        file.write("\n")
    plan = planned(clone)
    assert "page=network" in plan and plan.count("rule page:") == 1 and "rule cell:" not in plan
