"""A network in C++: the same logits as in torch, whatever the size, the number of threads and the width of the registers."""

import ctypes
import platform
import subprocess

import numpy as np
import pytest
import torch
from torch import nn

from anet_core import build, deployment, native
from anet_core.blocks import DownBlock
from anet_core.inference import to_input
from anet_core.network import ANet
from anet_core.rewrites import optimise
from anet_core.weights import load, tuned

pytestmark = pytest.mark.skipif(not native.precisions(), reason="no C++ compiler on this machine")
ROUNDING = 1e-4  # of logits up to 20, summed in another order


@pytest.fixture(scope="module")
def pictures():
    """Two pictures of 64x96, of noise: smooth ones would hide a pixel that is taken for its neighbour."""
    return np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)


def trained_like(name: str) -> nn.Module:
    """A network whose norms have statistics and whose PReLUs have slopes, also above 1 and below 0, so that none is passed over unseen."""
    torch.manual_seed(0)
    model = build(name).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, least, most in ((module.running_mean, -0.5, 0.5), (module.running_var, 0.5, 2), (module.weight.data, -1.5, 1.5), (module.bias.data, -0.5, 0.5)):
                values.uniform_(least, most)
        elif isinstance(module, nn.PReLU):
            module.weight.data.uniform_(-0.5, 1.5)
    return model


def logits_of(model: nn.Module, picture: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(to_input(picture))).numpy()


@pytest.mark.parametrize("name", ["A-Net", "A-Net:sum-last", "QuarterNet"])
def test_in_f32_the_logits_are_those_of_torch(name, pictures):
    model = trained_like(name)
    image = pictures[:1].copy()
    compiled = [native.Compiled(model, image, "f32", threads) for threads in (1, 2)]
    for picture in pictures:  # the second sees that nothing is left of the first
        image[0] = picture
        expected = logits_of(model, picture)
        for one in compiled:
            one.infer()
            assert np.abs(one.logits - expected).max() <= ROUNDING * max(1, np.abs(expected).max() / 20)
    assert (compiled[0].logits == compiled[1].logits).all()  # threads share rows, and no sum


@pytest.mark.parametrize("size", [(32, 32), (32, 224), (224, 224), (352, 288)])
def test_of_any_size_that_the_network_takes(size):
    model = trained_like("A-Net")
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    one = native.Compiled(model, picture[None], "f32", 3)  # threads, more than there are rows of the smallest features
    one.infer()
    expected = logits_of(model, picture)
    assert np.abs(one.logits - expected).max() <= ROUNDING * max(1, np.abs(expected).max() / 20)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of that kind")
@pytest.mark.parametrize("flags", [("-march=haswell",), ("-march=x86-64", "-fno-openmp")])
def test_on_processors_with_narrower_registers(flags, pictures, tmp_path):
    """With the registers of AVX2, and with what every such processor has, on one thread without OpenMP."""
    model = trained_like("A-Net")
    size = pictures.shape[1:3]
    library = native.compile_source(native.source(model, size), tmp_path, flags)
    logits = np.zeros((1, 1, *size), np.float32)
    pointers = (values.ctypes.data_as(ctypes.c_void_p) for values in (pictures[0], logits))
    ctypes.CDLL(str(library)).anet(*pointers, 2)
    expected = logits_of(model, pictures[0])
    assert np.abs(logits - expected).max() <= ROUNDING * max(1, np.abs(expected).max() / 20)


@pytest.mark.skipif("bf16" not in native.precisions(), reason="this CPU does not compute in bf16")
@pytest.mark.parametrize("name", ["A-Net", "A-Net:sum-last", "QuarterNet"])
def test_bf16_is_no_further_from_f32_than_openvino_is(name):
    from data_prep import synthetic

    model = load(tuned("neu-inclusion", name))
    picture = np.asarray(next(synthetic.samples())[1].convert("RGB").resize((224, 224)))
    one = native.Compiled(model, picture[None].copy(), "bf16", 2)
    one.infer()
    expected = logits_of(model, picture)
    openvino = deployment.compile_for_cpu(deployment.to_openvino(model, 224), "bf16", 1)(to_input(picture))[0]
    assert 0 < np.abs(one.logits - expected).mean() <= np.abs(openvino - expected).mean()


def test_the_file_by_itself_is_a_program(pictures, tmp_path):
    """As a program of C++ takes it, the file compiled together with it and with the warnings on."""
    model = trained_like("QuarterNet")
    native.write(model, pictures.shape[1:3], tmp_path / "anet.cpp")
    (tmp_path / "main.cpp").write_text(
        "#include <cstdint>\n#include <cstdio>\n#include <vector>\n"
        'extern "C" void anet(const uint8_t *picture, float *logits, int threads);\n'
        "int main() {\n    std::vector<uint8_t> picture(64 * 96 * 3);\n    std::vector<float> logits(64 * 96);\n"
        "    if (fread(picture.data(), 1, picture.size(), stdin) != picture.size()) return 1;\n"
        "    anet(picture.data(), logits.data(), 2);\n    fwrite(logits.data(), sizeof(float), logits.size(), stdout);\n}\n"
    )
    warnings = subprocess.run(
        [*native.compiler(), "-std=c++17", "-O2", "-march=native", "-fopenmp", "-Wall", "-Wextra", "-Wno-psabi", "main.cpp", "anet.cpp", "-o", "main"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    ).stderr
    assert not warnings
    out = subprocess.run([tmp_path / "main"], input=pictures[0].tobytes(), check=True, capture_output=True).stdout
    expected = logits_of(model, pictures[0])
    assert np.abs(np.frombuffer(out, np.float32) - expected.ravel()).max() <= ROUNDING * max(1, np.abs(expected).max() / 20)


def test_every_convolution_of_the_network_is_in_the_file():
    """As many weights as the network has, less what is folded, and the zeros that a byte beside three brings."""
    model = build("A-Net")
    kernels = sum(one.kernel.numel() for block in native.in_order(model) for one in native.convolutions(block))
    convolutions = sum(module.weight.numel() for module in model.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)))
    first = next(module for module in model.modules() if isinstance(module, DownBlock))
    beside = first.body[0].out_channels + first.shortcut[1].out_channels
    head_norm = 2 * model.head.body[2].num_features
    assert kernels == convolutions + beside + head_norm


@pytest.mark.parametrize("model", [build("ENet"), build("A-Net:none"), build("A-Net:light+wide"), build("A-Net:light+wide+jump"), ANet(wide=False), ANet(light=False, activated=True), optimise(build("A-Net"))])
def test_another_network_has_no_such_form(model, tmp_path):
    with pytest.raises(ValueError, match="^only A-Net, A-Net:sum-last and QuarterNet have a form in C.., and not .*; export it to openvino or onnx.$"):
        native.write(model, (224, 224), tmp_path / "a.cpp")
    assert not native.has_form(model)
    assert not list(tmp_path.iterdir())


def test_a_compiler_that_is_missing_or_fails_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -x")
    with pytest.raises(ValueError, match="^there is no C.. compiler 'no-such-compiler' here; install g.. or clang.., or name one in CXX.$"):
        native.compile_source("", tmp_path)
    monkeypatch.delenv("CXX")
    with pytest.raises(ValueError, match=r"^c\+\+ .*-fPIC fails \(.*error: .*\); name another compiler in CXX.$"):
        native.compile_source("#error no\n", tmp_path)
