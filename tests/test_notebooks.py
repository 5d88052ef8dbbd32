import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest

from anet_core import records
from data_prep import catalogue
from data_prep.sources import SOURCES

from conftest import ROOT, draw

sys.path.insert(0, str(ROOT / "workflow"))
from clean import CHECKED, source, without_traces  # noqa: E402
from pages import PAGES, READS, needs_data  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGE_FILES = sorted((ROOT / "book").glob("*.ipynb"))


def code_cells(path, tag):
    notebook = nbformat.read(path, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code" and tag in cell.metadata.get("tags", [])]


def code_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_sources_are_clean_and_have_parameters(path):
    notebook = nbformat.read(path, as_version=4)
    assert source(nbformat.from_dict(notebook.copy())) == notebook, f"run python workflow/clean.py {path}"
    assert len(code_cells(path, "parameters")) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_checked_cell_has_an_output_to_check(path):
    """nbval compares nothing where a cell has no count or no output: a check that could not fail."""
    for cell in code_cells(path, CHECKED):
        assert cell.execution_count is not None and cell.outputs, cell.source


def test_nbval_notices_a_wrong_number(tmp_path):
    notebook = nbformat.read(ROOT / "notebooks" / "blocks.ipynb", as_version=4)
    text = nbformat.writes(notebook)
    assert "387237" in text
    (tmp_path / "wrong.ipynb").write_text(text.replace("387237", "387238"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--nbval", "-p", "no:cacheprovider", str(tmp_path / "wrong.ipynb")],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1 and "387238" in done.stdout and "1 failed" in done.stdout


def test_every_page_is_committed_executed_and_clean():
    assert {path.stem for path in PAGE_FILES} == PAGES.keys()
    for path in PAGE_FILES:
        notebook = nbformat.read(path, as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source]
        assert all(cell.execution_count for cell in cells), f"{path.name} holds a cell that was not run"
        assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"], f"{path.name} holds an error"
        assert without_traces(nbformat.from_dict(notebook.copy())) == notebook


def test_what_pages_read_is_known():
    """A page of a notebook that reads results and is not said to would not be made again when they change."""
    assert READS.keys() == {notebook for notebook, _ in PAGES.values()}
    reading = re.compile(r"records\.read|runs_by_network|measurements\.|timing\.(recorded|machines)|ledger\(")
    for notebook, patterns in READS.items():
        code = "".join(cell.source for cell in nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells)
        assert bool(patterns) == bool(reading.search(code)), notebook


@pytest.mark.parametrize("notebook", ["timing", "deployment", "quantisation"])
def test_the_page_of_a_machine_reads_just_what_it_is_said_to(notebook, monkeypatch):
    """Also by functions that read tables which the notebook does not name."""
    read, read_csv, read_record = [], pd.read_csv, records.read
    monkeypatch.setattr(pd, "read_csv", lambda path, **how: read.append(Path(path)) or read_csv(path, **how))
    monkeypatch.setattr(records, "read", lambda path: read.append(path) or read_record(path))
    names = {}
    for cell in nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
    plt.close("all")
    results = [path.relative_to(records.RESULTS).as_posix() for path in read if path.is_relative_to(records.RESULTS)]
    assert [path for path in results if not any(fnmatch(path, pattern) for pattern in READS[notebook])] == []
    assert [pattern for pattern in READS[notebook] if not any(fnmatch(path, pattern) for path in results)] == []


def test_pages_follow_their_notebooks():
    """A page holds its notebook's cells under a heading of its own, so a notebook changed without a new run is noticed."""
    for page, (notebook, _) in PAGES.items():
        heading, *cells = (cell.source for cell in nbformat.read(ROOT / "book" / f"{page}.ipynb", as_version=4).cells)
        our_heading, *ours = (cell.source for cell in nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells)
        assert set(ours) <= set(cells) and heading.startswith(our_heading.split("\n")[0]), f"run python workflow/pages.py {page}"


def test_no_page_shows_a_real_picture():
    for page in PAGES:
        if needs_data(page):
            shown = [cell for cell in code_cells(ROOT / "book" / f"{page}.ipynb", "shows-data") if cell.outputs]
            assert not shown, f"{page} shows pictures that are not ours to publish"


def test_no_number_of_the_prose_is_missing():
    """A page may glue a number that cannot be computed as nan; no sentence shows one."""
    shown = {reference for page in (ROOT / "book").glob("*.md") for reference in re.findall(r"\{glue:text\}`([\w-]+)\.ipynb::(\w+)", page.read_text())}
    missing = []
    for page, name in sorted(shown):
        outputs = code_outputs(ROOT / "book" / f"{page}.ipynb")
        [glued] = [output["data"] for output in outputs if output.get("metadata", {}).get("scrapbook", {}).get("name") == name]
        if "nan" in "".join(map(str, glued.values())):
            missing.append(f"{page}::{name}")
    assert shown and missing == []


def test_every_page_of_a_published_set_says_where_it_comes_from():
    for page, (notebook, parameters) in PAGES.items():
        if notebook == "dataset" and needs_data(page):
            outputs = code_outputs(ROOT / "book" / f"{page}.ipynb")
            said = "\n".join(output["data"].get("text/markdown", "") for output in outputs if "data" in output)
            [source] = [s for s in SOURCES.values() if s.folder in catalogue.FOLDERS[parameters["dataset"]]]
            for fact in (source.page, source.licence, source.citation, source.content_sha256, "sha256 of the manifest"):
                assert fact in said, f"{page} lacks {fact}"


def test_papermill_takes_a_folder_that_is_not_in_the_repository(tmp_path):
    """The comparison page on somebody's own pictures, at a size that is no multiple of 32."""
    folder = draw(tmp_path / "bolts", images=8, width=70, height=60)
    done = subprocess.run(
        [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "comparison.ipynb"), str(tmp_path / "out.ipynb"),
         "-p", "dataset", str(folder), "-p", "results", str(tmp_path / "results"), "-y", "train: [A-Net]"],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    panel = code_cells(tmp_path / "out.ipynb", "shows-data")[0]
    assert any("image/png" in output.get("data", {}) for output in panel.outputs)
    assert list((tmp_path / "results" / "runs").glob("bolts--A-Net--quick*.json"))
