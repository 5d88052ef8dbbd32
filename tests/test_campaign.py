import gzip
import json
import math
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from anet_core import campaign, command, effort, grid, records
from anet_core.grid import GRID, Cell
from anet_core.protocol import PROTOCOLS
from anet_core.registry import names
from anet_core.run import processor

from conftest import ROOT

CELL = Cell("A-Net", "squares", "quick")


@pytest.fixture
def toy(squares, monkeypatch, tmp_path):
    """A grid of two cells on a small data set; the folder of its results."""
    monkeypatch.setenv("ANET_DATA", str(squares.parent))
    for module in (campaign, effort):
        monkeypatch.setattr(module, "GRID", [CELL, Cell("A-Net", "squares", "quick", seed=1)])
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
    [checkpoint] = toy.glob("checkpoints/*.pt")
    assert not list(toy.glob("runs/*"))
    call("status", results=toy)
    out = capsys.readouterr().out
    assert "2 cells: 0 done, 0 running, 2 missing" in out
    assert re.search(rf"^stopped  {CELL.name} at iteration \d+ of 120; run resumes it$", out, re.MULTILINE)

    for kept in (100_000, 1000, 0):
        checkpoint.write_bytes(checkpoint.read_bytes()[:kept])
        call("status", results=toy)
        assert f"faulty   {checkpoint} is damaged" in capsys.readouterr().out


def test_a_cell_that_fails_does_not_keep_the_others_from_running(toy, monkeypatch, capsys):
    monkeypatch.setattr(campaign, "GRID", [Cell("A-Net", "rust", "quick"), CELL])
    assert call("run", "--minutes", "0", results=toy) == 1
    captured = capsys.readouterr()
    assert "failed   rust--A-Net--quick--split0--seed0: unknown data set 'rust'" in captured.err and "out of time" in captured.out
    assert [path.stem for path in toy.glob("checkpoints/*.pt")] == [CELL.name]


def test_a_cell_that_diverges_is_done_and_not_run_again(toy, monkeypatch, capsys):
    monkeypatch.setitem(PROTOCOLS, "quick", replace(PROTOCOLS["quick"], learning_rate=1e38, iterations=5))
    assert call("run", "--only", CELL.name, results=toy) == 0
    [record] = toy.glob("runs/*")
    assert f"{CELL.name} diverged at iteration {records.diverged(records.read(record))}\n" in capsys.readouterr().out
    assert call("run", "--only", CELL.name, results=toy) == 0 and "diverged" not in capsys.readouterr().out
    call("status", results=toy)
    assert "2 cells: 1 done, 0 running, 1 missing" in capsys.readouterr().out


def test_who_looks_at_a_cell_puts_no_worker_off(toy):
    """A look holds the lock of a cell for a moment; here a long one of 0.2 s."""
    (toy / "checkpoints").mkdir(parents=True)
    look = FileLock(toy / "checkpoints" / f"{CELL.name}.claim", thread_local=False)
    look.acquire()
    threading.Timer(0.2, look.release).start()
    with campaign.claim(CELL.name, toy) as free:
        assert free


def test_a_worker_holds_its_cell_until_it_dies(toy, capsys):
    """A real second process, killed with SIGKILL: its cell is running, then missing again, with nothing to clean up."""
    code = (
        "import sys, time; from pathlib import Path; from anet_core.run import claim\n"
        "with claim(sys.argv[1], Path(sys.argv[2])) as free: print(free, flush=True); time.sleep(60)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code, CELL.name, str(toy)], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert worker.stdout.readline() == "True\n"
    assert campaign.state(CELL, toy) == "running"
    with campaign.claim(CELL.name, toy) as free:
        assert not free
    assert call("run", "--only", CELL.name, results=toy) == 0
    assert f"{CELL.name} is left to the worker that runs it" in capsys.readouterr().out
    assert command.main(["train", "--dataset", "squares", "--protocol", "quick", "--results", str(toy)]) == 1  # nor does what runs no grid
    assert capsys.readouterr().err.startswith(f"{CELL.name} is run by another process just now; wait until it has written ")
    threading.Timer(0.5, worker.send_signal, [signal.SIGKILL]).start()
    with campaign.claim(CELL.name, toy, patience=-1) as free:
        assert free and worker.wait() == -signal.SIGKILL
        assert campaign.state(CELL, toy) == "running"
    assert campaign.state(CELL, toy) == "missing"


def test_a_worker_that_waits_takes_the_record_that_another_writes(one_record, capsys):
    path = CELL.record(one_record)
    text = path.read_text()
    path.unlink()
    begun = threading.Event()

    def work():
        with campaign.claim(CELL.name, one_record):
            begun.set()
            time.sleep(1.5)  # longer than who does not wait would look
            path.write_text(text)

    threading.Thread(target=work).start()
    begun.wait()
    assert call("run", "--wait", "--only", CELL.name, results=one_record) == 0
    assert path.read_text() == text and capsys.readouterr().out == f"{CELL.name}\n"


@pytest.fixture
def one_record(toy):
    """The results of the toy grid with one record: a committed one, renamed and given the toy's data and this processor."""
    record = records.read(sorted((ROOT / "results" / "tuning" / "runs").glob("*.json"))[0])
    from anet_core.dataset import manifest_sha256
    from data_prep import locate

    quick = PROTOCOLS["quick"].for_dataset("squares")
    record |= {"dataset": "squares", "protocol": "quick", "manifest_sha256": manifest_sha256(locate("squares")), "evaluated_on": "test"}
    record |= quick.values() | {"losses": record["losses"][: quick.iterations]}
    record["processor"] = processor("cpu")
    records.write(record, CELL.record(toy))
    return toy


def test_a_record_is_never_run_again(one_record, capsys):
    path = CELL.record(one_record)
    before = path.read_bytes()
    call("run", "--only", CELL.name, results=one_record)
    assert path.read_bytes() == before and not list(one_record.glob("checkpoints/*.pt"))
    call("status", results=one_record)
    out = capsys.readouterr().out
    assert "1 done, 0 running, 1 missing" in out and "hours here" in out and "guessed" not in out


def test_time_is_taken_from_records_and_guessed_between_constant_and_proportional_to_macs(one_record):
    record = records.read(CELL.record(one_record))
    settings = PROTOCOLS["quick"]
    here = record["seconds"] / (record["iterations"] * record["batch_size"]) * settings.iterations * settings.batch_size
    again = Cell("A-Net", "squares", "quick", seed=1)
    assert effort.seconds_needed([again], one_record, "cpu") == (pytest.approx(here), set())
    seconds, guessed = effort.seconds_needed([again, Cell("UNet", "squares", "quick")], one_record, "cpu")
    assert 2 * here < seconds < here * (1 + effort.macs("UNet") / effort.macs("A-Net")) and guessed == {"UNet"}
    diverged = [0.9] + [math.nan] * (record["iterations"] - 1)  # and ended early
    for changes in ({"processor": "another"}, {"losses": diverged}):
        records.write(record | changes, CELL.record(one_record))
        assert effort.seconds_needed([again], one_record, "cpu") is None


def test_a_faulty_record_is_not_passed_over_in_silence(one_record, capsys):
    CELL.record(one_record).write_text("{")
    assert call("run", "--only", CELL.name, results=one_record) == 1
    assert f"faulty   {CELL.record(one_record)} is not a run's record" in capsys.readouterr().err
    call("status", results=one_record)
    assert "0 done, 0 running, 1 missing, 1 faulty" in capsys.readouterr().out


def test_faulty_records_are_named(one_record, capsys):
    path = CELL.record(one_record)
    record = records.read(path)
    path.with_name("foreign.json").write_text("{}")
    path.with_name("another.json").write_bytes(path.read_bytes())
    path.with_name("bytes.json").write_bytes(bytes(range(256)))
    path.with_name("folder.json").mkdir()
    unknown, cut, slow = (path.with_name(f"{records.run_name(model, 'squares', 'quick', 1)}.json") for model in ("B-Net", "ENet", "STDC"))
    records.write(record | {"model": "STDC", "split_seed": 1, "learning_rate": 0.001}, slow)
    records.write(record | {"model": "B-Net", "split_seed": 1}, unknown)
    records.write(record | {"model": "ENet", "split_seed": 1, "losses": record["losses"][:-1]}, cut)
    assert call("status", results=one_record) == 0
    out = capsys.readouterr().out
    assert "1 done, 0 running, 1 missing" in out
    assert "foreign.json lacks" in out and f"another.json holds the run {CELL.name}" in out
    assert "bytes.json is not a run's record" in out and "folder.json" in out
    assert f"{unknown} is of an unknown network" in out and f"{cut} holds 119 losses of 120" in out
    assert f"{slow} was made with the learning_rate 0.001, but quick has 0.1" in out
    assert out.count("\nfaulty   ") == 7 and records.read(path) == record


def test_changed_data_is_named(one_record, capsys, squares):
    path, manifest, picture = CELL.record(one_record), squares / "manifest.csv", squares / "images" / "square 3.png"
    rows, pixels = manifest.read_text(), picture.read_bytes()
    for change, said in (
        (lambda: picture.write_bytes((squares / "images" / "square 4.png").read_bytes()), f"{picture} is not the file"),
        (picture.unlink, f"{picture} is not the file"),
        (lambda: manifest.write_text(rows.replace(",test,", ",train,", 1)), f"{path} was made from other data than {squares} holds now"),
        (lambda: manifest.write_text("id\n"), f"{manifest} must have the columns"),
        (manifest.unlink, f"{manifest} is missing"),
    ):
        change()
        assert call("status", results=one_record) == 0
        out = capsys.readouterr().out
        assert out.count("\nfaulty   ") == 1 and said in out
        manifest.write_text(rows)
        picture.write_bytes(pixels)
    call("status", results=one_record)
    assert "\nfaulty" not in capsys.readouterr().out


FULL = """
import resource, sys
from pathlib import Path
from anet_core import campaign, records
from anet_core.grid import Cell
done, missing = (Cell("A-Net", "squares", "quick", seed=seed) for seed in (0, 1))
results = Path(sys.argv[1])
record = records.read(done.record(results))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for cell in (done, missing):
    try:
        records.write(record, cell.record(results))
    except OSError as error:
        print(error)
campaign.GRID = [done, missing]
sys.exit(campaign.main(["run", "--minutes", "0", "--device", "cpu", "--results", str(results)]))
"""


def test_a_full_disk(one_record, capsys):
    """The system lets a process write no file beyond 1000 bytes: neither a record nor a checkpoint becomes whole."""
    path = CELL.record(one_record)
    before = path.read_bytes()
    process = subprocess.run(
        [sys.executable, "-c", FULL, str(one_record)], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert process.stdout.count("File too large") == 2 and "Traceback" not in process.stderr
    assert process.returncode == 1
    assert process.stderr.startswith(f"failed   {CELL.name[:-1]}1: ") and "cannot be written (cut short; the one before it is kept)" in process.stderr
    assert [(p.name, p.read_bytes()) for p in path.parent.iterdir()] == [(path.name, before)]
    call("status", results=one_record)
    assert "1 done, 0 running, 1 missing, 0 faulty" in capsys.readouterr().out and not list(one_record.glob("*/*.tmp"))
    cut = one_record / "checkpoints" / f"{CELL.name}.pt.0123abcd.tmp"  # as a SIGKILL leaves it
    cut.write_bytes(b"cut")
    call("status", results=one_record)
    assert f"faulty   {cut} was cut short" in capsys.readouterr().out


def test_what_another_worker_is_writing_is_not_called_cut_short(one_record, capsys):
    other = Cell("A-Net", "mine", "quick", seed=1)  # no cell of the grid
    (one_record / "checkpoints").mkdir(exist_ok=True)
    (one_record / "checkpoints" / f"{other.name}.pt.0123abcd.tmp").write_bytes(b"half")
    with campaign.claim(other.name, one_record):
        call("status", "--only", CELL.name, results=one_record)
    assert "faulty   " not in capsys.readouterr().out
    call("status", "--only", CELL.name, results=one_record)
    assert "was cut short" in capsys.readouterr().out


def test_export_and_import(one_record, tmp_path, capsys):
    archive, elsewhere = tmp_path / "runs.tar", tmp_path / "elsewhere"
    trained = Path("weights", f"{CELL.name}.safetensors")
    (one_record / "weights").mkdir()
    (one_record / trained).write_bytes(b"numbers")
    assert call("export", str(archive), results=one_record) == 0
    assert call("import", str(archive), results=elsewhere) == 0
    ours, theirs = (CELL.record(folder) for folder in (one_record, elsewhere))
    assert records.read(theirs) == records.read(ours) and (elsewhere / trained).read_bytes() == b"numbers"
    assert call("import", str(archive), results=elsewhere) == 0
    assert "1 records added, 0 refused" in (out := capsys.readouterr().out) and "0 records added, 0 refused" in out
    for before, after in ((None, b"numbers"), (b"ours", b"ours")):  # weights that are missing come, others stay
        (elsewhere / trained).unlink() if before is None else (elsewhere / trained).write_bytes(before)
        assert call("import", str(archive), results=elsewhere) == 0
        assert (elsewhere / trained).read_bytes() == after
    capsys.readouterr()

    record = json.loads(ours.read_text())
    ours.write_text(json.dumps(record | {"manifest_sha256": "0" * 64}))
    ours.with_name("broken.json").write_text("{")
    with tarfile.open(archive, "w") as tar:
        for path in (ours, ours.with_name("broken.json")):
            tar.add(path, f"runs/{path.name}")
    theirs.unlink()
    assert call("import", str(archive), results=elsewhere) == 0
    out = capsys.readouterr().out
    assert "0 records added, 2 refused" in out and "other data" in out and f"{archive}/runs/broken.json is not a run's record" in out
    assert not theirs.exists()


@pytest.mark.parametrize("arguments, said", [
    (("run", "--only", "B-Net*"), "no cell of the grid matches 'B-Net*'"),
    (("import", "nope.tar"), "nope.tar is not a file; give an archive that export wrote."),
    (("export", "/nodir/x.tar"), "/nodir/x.tar cannot be written (No such file or directory); "),
])
def test_errors_are_one_sentence(arguments, said, toy, capsys):
    assert call(*arguments, results=toy) == 1
    assert said in capsys.readouterr().err


def test_an_interrupt_is_quiet(toy, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(campaign, "run", interrupted)
    assert call("run", results=toy) == 130 and capsys.readouterr() == (f"{CELL.name}\n", "")


def test_importing_a_file_that_is_no_archive_or_was_cut_short(one_record, tmp_path, capsys):
    archive, elsewhere = tmp_path / "a.tar", tmp_path / "elsewhere"
    call("export", str(archive), results=one_record)
    for content in (b"hello", archive.read_bytes()[:2000], gzip.compress(archive.read_bytes())[:2000]):
        archive.write_bytes(content)
        assert call("import", str(archive), results=elsewhere) == 1
        assert capsys.readouterr().err.startswith(f"{archive} cannot be unpacked as a zip, tar or tar.gz ") and not elsewhere.exists()


def test_a_data_set_that_is_not_here_is_named_once_and_left_out(toy, monkeypatch, capsys):
    """Table IV's cells, with nothing of DAGM under ANET_DATA."""
    cells = [cell for cell in GRID if cell.dataset == "dagm-class7"]
    assert len(cells) == 15 and effort.pixels(cells[0].dataset) == 512**2
    monkeypatch.setattr(campaign, "GRID", [*cells, CELL])
    assert call("run", "--minutes", "0", results=toy) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith("left out ") and "data_prep make dagm-class7" in captured.err
    assert [path.stem for path in toy.glob("checkpoints/*.pt")] == [CELL.name]
    call("next", results=toy)
    call("status", results=toy)
    out = capsys.readouterr().out
    assert out.startswith(f"{CELL.name}\n16 cells: 0 done, 0 running, 16 missing") and "no data  of dagm-class7 is here" in out
