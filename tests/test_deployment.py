import re
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from anet_core import build, deployment, timing
from anet_core.inference import to_input


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = build("A-Net")
    with torch.no_grad():  # norms that do something, as after training
        for _ in range(3):
            network(torch.randn(4, 3, 64, 64))
    return network.eval()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def logits(network, image):
    with torch.inference_mode():
        return network(torch.from_numpy(image)).numpy()


@pytest.fixture(scope="module")
def exported(network):
    return deployment.to_openvino(network, 64)


def test_openvino_computes_the_same(exported, image, logits):
    model = deployment.compile_for_cpu(exported, "f32", threads=1)
    assert np.abs(model(image)[0] - logits).max() < 1e-4


def test_a_model_that_takes_the_picture_scales_it_itself(network, exported):
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(to_input(picture))).numpy()
    model = deployment.compile_for_cpu(deployment.from_picture(exported), "f32", threads=1)
    assert np.abs(model(picture[None])[0] - expected).max() < 1e-4
    assert exported.input(0).shape == [1, 3, 64, 64]  # that one still takes what the network takes


def test_the_precision_asked_for_is_the_one_used(exported):
    for precision in deployment.native_precisions():
        model = deployment.compile_for_cpu(exported, precision, threads=1)
        assert model.get_property("INFERENCE_PRECISION_HINT").get_type_name() == precision


def test_onnx_computes_the_same(network, image, logits, tmp_path):
    deployment.to_onnx(network, 64, tmp_path / "anet.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["anet.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "anet.onnx", providers=["CPUExecutionProvider"])
    assert np.abs(session.run(None, {"image": image})[0] - logits).max() < 1e-4


def test_onnx_for_any_size_names_no_folder_of_this_machine(network, tmp_path):
    path = tmp_path / "anet.onnx"
    deployment.to_onnx(network, None, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for height, width in ((32, 96), (64, 32)):
        image = np.random.default_rng(0).uniform(-1, 1, (1, 3, height, width)).astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(image)).numpy()
        assert np.abs(session.run(None, {"image": image})[0] - expected).max() < 1e-4
    assert b"anet_core" not in path.read_bytes()


def test_openvino_for_a_size_that_is_not_square(network):
    assert deployment.to_openvino(network, (64, 96)).output(0).shape == [1, 1, 64, 96]


def test_unknown_precision(exported):
    with pytest.raises(ValueError, match="this CPU does not compute in 'int3'; choose from f32"):
        deployment.compile_for_cpu(exported, "int3", threads=1)


def test_latencies_take_turns():
    calls = []
    functions = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    table = timing.latencies(functions, iterations=5, warmup=1)
    assert calls == ["a", "b"] * 6 and list(table.index) == [0, 1, 2, 3, 4]
    summary = timing.summary(table)
    assert (summary["p5_ms"] <= summary["median_ms"]).all() and (summary["median_ms"] <= summary["p95_ms"]).all()


def test_the_first_call_of_a_turn_of_several_is_not_timed():
    calls = []
    table = timing.latencies({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, iterations=4, warmup=0, burst=2)
    assert "".join(calls) == "aaabbb" * 2 and list(table.index) == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="5 iterations are not a whole number of turns of 2"):
        timing.latencies({}, iterations=5, burst=2)


def test_on_the_front_is_what_nothing_faster_equals():
    points = pd.DataFrame({"median_ms": [1, 2, 3, 4], "iou": [50, 70, 70, 80]}, index=["fast", "good", "slower", "best"])
    assert timing.front(points) == [True, True, False, True]


def test_ratios_say_how_many_times_faster():
    milliseconds = pd.DataFrame({"slow": [4.0, 4.0, 6.0, 6.0, 4.0, 4.0], "fast": [2.0, 2.0, 3.0, 3.0, 2.0, 2.0]}, index=[0, 0, 1, 1, 2, 2])
    table = timing.ratios(milliseconds, "slow")
    # The machine is slower in the second turn, but for both: the ratio is 2 whatever turns are drawn.
    assert table.loc["fast"].tolist() == [2, 2, 2] and table.loc["slow"].tolist() == [1, 1, 1]


def test_recorded_times_are_read_and_missing_ones_named(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match='no times of any machine lie in .*; make them with "python workflow/fig7.py"'):
        timing.machines()
    (tmp_path / "here-2-cores.csv").write_text("runtime,network,precision,threads,fps\nOpenVINO,A-Net,f32,2,300\n")
    assert timing.machines() == ["here-2-cores"] and timing.recorded("here-2-cores").loc[0, "fps"] == 300
    with pytest.raises(FileNotFoundError, match="there-4-cores.csv does not exist; make it on that machine"):
        timing.recorded("there-4-cores")


def test_the_fastest_precision_is_that_of_the_shortest_times(exported, image, monkeypatch):
    monkeypatch.setattr(deployment, "native_precisions", lambda: deployment.PRECISIONS)
    monkeypatch.setattr(deployment, "compile_for_cpu", lambda _, precision, threads: precision)
    for fast in deployment.PRECISIONS:
        monkeypatch.setattr(deployment, "request", lambda compiled, _: SimpleNamespace(infer=partial(time.sleep, 0.001 if compiled == fast else 0.01)))
        assert deployment.fastest(exported, 1, image) == fast


@pytest.mark.parametrize("vendor, family, flags, said", [
    ("AuthenticAMD", "25", "sse avx2", " Zen 3"), ("AuthenticAMD", "25", "sse avx512f", " Zen 4"), ("AuthenticAMD", "26", "sse avx512f", " Zen 5"),
    ("AuthenticAMD", "27", "sse avx512f", ""), ("GenuineIntel", "6", "sse avx512f", ""),
])
def test_processors_of_one_name_are_told_apart(vendor, family, flags, said, monkeypatch):
    one = f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel name\t: EPYC\nflags\t\t: {flags}\n\n"
    monkeypatch.setattr(timing.Path, "read_text", lambda path: 2 * one)
    assert timing.generation() == said


def test_the_name_of_a_machine_can_be_a_file_name():
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-\d+-cores", timing.machine())
