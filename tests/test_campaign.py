import json
import os
import signal
import subprocess
import sys
import tarfile

import pytest

from anet_core import campaign, grid, records
from anet_core.grid import GRID, Cell
from anet_core.protocol import PROTOCOLS
from anet_core.registry import names

from conftest import ROOT

CELL = Cell("A-Net", "squares", "quick")


@pytest.fixture
def toy(squares, monkeypatch, tmp_path):
    """A grid of two cells on a small data set; the folder of its results."""
    monkeypatch.setenv("ANET_DATA", str(squares.parent))
    monkeypatch.setattr(campaign, "GRID", [CELL, Cell("A-Net", "squares", "quick", seed=1)])
    return tmp_path / "results"


def call(*arguments, results):
    return campaign.main([*arguments, "--device", "cpu", "--results", str(results)])


def test_the_grid_names_known_things_once():
    assert len({cell.name for cell in GRID}) == len(GRID)
    assert {cell.model for cell in GRID} == set(names()) and {cell.protocol for cell in GRID} <= PROTOCOLS.keys()
    assert GRID[0] == Cell("A-Net", "neu-inclusion") and set(grid.LIGHT) | set(grid.CLASSICAL) | {"A-Net"} <= set(names())


def test_out_of_time_stops_cleanly_and_goes_on_later(toy, capsys):
    assert call("run", "--minutes", "0.01", results=toy) == 0
    assert "out of time" in capsys.readouterr().out
    assert len(list(toy.glob("checkpoints/*.pt"))) == 1 and not list(toy.glob("runs/*"))
    call("status", results=toy)
    assert "2 cells: 0 done, 0 running, 2 missing" in capsys.readouterr().out


def test_a_worker_holds_its_cell_until_it_dies(toy, capsys):
    """A real second process, killed with SIGKILL: its cell is running, then missing again, with nothing to clean up."""
    code = (
        "import sys, time; from pathlib import Path; from anet_core import campaign; from anet_core.grid import Cell\n"
        "with campaign.claim(Cell('A-Net', 'squares', 'quick'), Path(sys.argv[1])) as free: print(free, flush=True); time.sleep(60)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code, str(toy)], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert worker.stdout.readline() == "True\n"
    assert campaign.state(CELL, toy) == "running"
    with campaign.claim(CELL, toy) as free:
        assert not free
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert campaign.state(CELL, toy) == "missing"


@pytest.fixture
def one_record(toy):
    """The results of the toy grid with one record: a committed one, renamed and given the toy's data."""
    record = records.read(sorted((ROOT / "results" / "tuning" / "runs").glob("*.json"))[0])
    from anet_core.dataset import manifest_sha256
    from data_prep import locate

    record |= {"dataset": "squares", "protocol": "quick", "manifest_sha256": manifest_sha256(locate("squares"))}
    records.write(record, campaign.record_path(CELL, toy))
    return toy


def test_a_record_is_never_run_again(one_record, capsys):
    path = campaign.record_path(CELL, one_record)
    before = path.read_bytes()
    call("run", "--only", CELL.name, results=one_record)
    assert path.read_bytes() == before and not list(one_record.glob("checkpoints/*.pt"))
    call("status", results=one_record)
    out = capsys.readouterr().out
    assert "1 done, 0 running, 1 missing" in out and "hours here" in out


def test_faulty_records_are_named(one_record, capsys, squares):
    path = campaign.record_path(CELL, one_record)
    path.with_name("foreign.json").write_text("{}")
    path.with_name("another.json").write_bytes(path.read_bytes())
    manifest = squares / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",test,", ",train,", 1))
    call("status", results=one_record)
    out = capsys.readouterr().out
    assert "foreign.json lacks" in out and f"another.json holds the run {CELL.name}" in out
    assert f"{path.name} was made from other data" in out


def test_export_and_import(one_record, tmp_path, capsys):
    archive, elsewhere = tmp_path / "runs.tar", tmp_path / "elsewhere"
    assert call("export", str(archive), results=one_record) == 0
    assert call("import", str(archive), results=elsewhere) == 0
    ours, theirs = (campaign.record_path(CELL, folder) for folder in (one_record, elsewhere))
    assert records.read(theirs) == records.read(ours)
    assert call("import", str(archive), results=elsewhere) == 0
    assert "1 records added, 0 refused" in (out := capsys.readouterr().out) and "0 records added, 0 refused" in out

    record = json.loads(ours.read_text())
    ours.write_text(json.dumps(record | {"manifest_sha256": "0" * 64}))
    ours.with_name("broken.json").write_text("{")
    with tarfile.open(archive, "w") as tar:
        for path in (ours, ours.with_name("broken.json")):
            tar.add(path, f"runs/{path.name}")
    theirs.unlink()
    assert call("import", str(archive), results=elsewhere) == 0
    out = capsys.readouterr().out
    assert "0 records added, 2 refused" in out and "other data" in out and "broken.json is not a run's record" in out
    assert not theirs.exists()


@pytest.mark.parametrize("arguments, said", [(("run", "--only", "B-Net*"), "no cell of the grid matches 'B-Net*'")])
def test_errors_are_one_sentence(arguments, said, toy, capsys):
    assert call(*arguments, results=toy) == 1
    assert said in capsys.readouterr().err


def test_importing_a_file_that_is_no_archive(toy, tmp_path, capsys):
    (tmp_path / "a.tar").write_text("hello")
    assert call("import", str(tmp_path / "a.tar"), results=toy) == 1
    assert capsys.readouterr().err.strip()
