import numpy as np
import onnxruntime
import pytest
import torch

from anet_core import build, deployment, timing


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


def test_openvino_computes_the_same(network, image, logits):
    model = deployment.compile_for_cpu(deployment.to_openvino(network, 64), "f32", threads=1)
    assert np.abs(model(image)[0] - logits).max() < 1e-4


def test_the_precision_asked_for_is_the_one_used(network):
    exported = deployment.to_openvino(network, 64)
    for precision in deployment.native_precisions():
        model = deployment.compile_for_cpu(exported, precision, threads=1)
        assert model.get_property("INFERENCE_PRECISION_HINT").get_type_name() == precision


def test_onnx_computes_the_same(network, image, logits, tmp_path):
    deployment.to_onnx(network, 64, tmp_path / "anet.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["anet.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "anet.onnx", providers=["CPUExecutionProvider"])
    assert np.abs(session.run(None, {"image": image})[0] - logits).max() < 1e-4


def test_unknown_precision(network):
    with pytest.raises(ValueError, match="'int3' is not to be had on this CPU; it has f32"):
        deployment.compile_for_cpu(deployment.to_openvino(network, 64), "int3", threads=1)


def test_latencies_take_turns():
    calls = []
    table = timing.latencies({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, iterations=5, warmup=2)
    assert calls == ["a", "b"] * 7
    summary = timing.summary(table)
    assert (summary["p5_ms"] <= summary["median_ms"]).all() and (summary["median_ms"] <= summary["p95_ms"]).all()
