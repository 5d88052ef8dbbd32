import re
from dataclasses import replace

import pandas as pd
import pytest

from anet_core import records, study, training
from anet_core.protocol import PRINTED


def call(squares, results, *arguments):
    return study.main(["--dataset", str(squares), "--rate", "0.01", "--reduction", "batch", "--results", str(results), *arguments])


@pytest.fixture
def short_runs(monkeypatch):
    monkeypatch.setattr(study, "PRINTED", replace(PRINTED, batch_size=4))
    monkeypatch.setitem(training.CHECKPOINT_EVERY, "cpu", 5)


def test_the_printed_setting_is_one_of_the_study():
    last = study.setting(study.RATES[0], "image", study.ITERATIONS[-1])
    assert {**vars(last), "name": "printed"} == vars(PRINTED)


def test_a_longer_run_goes_on_from_a_shorter_one_to_the_same_losses_and_pixels(squares, tmp_path, short_runs):
    on_the_way, alone = tmp_path / "on the way", tmp_path / "alone"
    assert call(squares, on_the_way, "--iterations", "6", "5", "7") == 0
    assert call(squares, alone, "--iterations", "7") == 0
    name = f"{records.run_name('A-Net', 'squares', 'rate0.01-batch-7')}.json"
    ours, theirs = (records.read(folder / "runs" / name) for folder in (on_the_way, alone))
    assert ours["losses"] == theirs["losses"] and ours["confusion_images"] == theirs["confusion_images"]
    assert (ours["iterations"], ours["learning_rate"], ours["loss_reduction"]) == (7, 0.01, "batch")
    assert len(list(on_the_way.glob("runs/*"))) == 3 and not list(on_the_way.glob("checkpoints/*.pt"))


def test_out_of_time_keeps_the_records_and_goes_on(squares, tmp_path, short_runs, capsys):
    assert call(squares, tmp_path, "--iterations", "5") == 0
    assert call(squares, tmp_path, "--iterations", "5", "6", "--minutes", "0") == 0
    assert "out of time" in capsys.readouterr().out and len(list(tmp_path.glob("runs/*"))) == len(list(tmp_path.glob("checkpoints/*.pt"))) == 1
    assert call(squares, tmp_path, "--iterations", "5", "6") == 0
    assert re.search(r"-6: IoU", capsys.readouterr().out) and len(list(tmp_path.glob("runs/*"))) == 2


def test_where_a_curve_reaches_a_value():
    curve = pd.Series([10.0, 30.0, 20.0, None], index=[0.001, 0.1, 1.0, 10.0])
    assert study.reached(curve, 20) == pytest.approx(0.01)  # half of the way, on a logarithmic axis
    assert study.reached(curve, 5) == pytest.approx(0.001) and study.reached(curve, 31) is None


def test_the_answer_in_words_has_the_interval_and_does_not_reach_beyond_what_was_run():
    curve = pd.DataFrame({"IoU": [10.0, 20.0, 30.0], "low": [5.0, 15.0, 25.0], "high": [15.0, 25.0, 35.0]}, index=[100, 200, 400])
    assert study.told(curve, 20, ".0f") == "200 (interval from 141 to 283)"
    assert study.told(curve, 30, ".0f") == "400 (interval from 283; its lower end does not reach it by 400)"
    assert study.told(curve, 12, ".0f") == "115 (interval from 100 or less to 162)"
    assert study.told(curve, 33, ".0f") == "not reached by 400, highest 30.00 % at 400 (the upper end of the interval reaches it at 348)"
    assert study.told(curve, 36, ".0f") == "not reached by 400, nor by the upper end of the interval"


def test_the_table_has_every_setting_and_the_runs_that_there_are(squares, tmp_path, short_runs):
    assert call(squares, tmp_path, "--iterations", "5", "--rate", str(study.RATES[1])) == 0
    [record] = records.read_all(tmp_path / "runs")
    record["iterations"] = study.ITERATIONS[0]
    table = study.table([record])
    assert len(table) == len(study.RATES) * 2 * len(study.ITERATIONS) and table["IoU"].notna().sum() == 1
    assert table.loc[("batch", study.RATES[1], study.ITERATIONS[0]), "IoU"] == record["iou_pooled"]
