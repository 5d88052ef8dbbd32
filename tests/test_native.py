"""A network in C++: the same logits as in torch, whatever the size, the number of threads and the width of the registers."""

import ctypes
import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor

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
ROUNDING = 3e-4  # of the largest logit: sums in another order, and slopes above 1 that make the difference larger from block to block


@pytest.fixture(scope="module")
def pictures():
    """Two pictures of 64x96, of noise: smooth ones would hide a pixel that is taken for its neighbour."""
    return np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)


def trained_like(name: str, size: tuple[int, int]) -> nn.Module:
    """A network whose norms have statistics of noise and whose PReLUs have slopes, also above 1 and below 0, so that each part of it moves the logits."""
    torch.manual_seed(0)
    model = build(name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1
            module.weight.data.uniform_(-1.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
        elif isinstance(module, nn.PReLU):
            module.weight.data.uniform_(-0.5, 1.5)
        elif isinstance(module, nn.Dropout2d):
            module.p = 0
    noise = np.random.default_rng(2).integers(0, 256, (8, *size, 3), np.uint8)  # enough for norms of one pixel a picture
    with torch.no_grad():
        model.train()(torch.from_numpy(np.concatenate([to_input(one) for one in noise])))
    return model.eval()


def logits_of(model: nn.Module, picture: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(to_input(picture))).numpy()


def apart(logits: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, of the largest logit."""
    return np.abs(logits.ravel() - expected.ravel()).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", ["A-Net", "A-Net:sum-last", "QuarterNet"])
def test_in_f32_the_logits_are_those_of_torch(name, pictures):
    model = trained_like(name, pictures.shape[1:3])
    image = pictures[:1].copy()
    compiled = [native.Compiled(model, image, "f32", threads) for threads in (1, 2)]
    for picture in pictures:  # the second sees that nothing is left of the first
        image[0] = picture
        expected = logits_of(model, picture)
        for one in compiled:
            one.infer()
            assert apart(one.logits, expected) <= ROUNDING
    assert (compiled[0].logits == compiled[1].logits).all()  # threads share rows, and no sum


@pytest.mark.parametrize("size", [(32, 32), (32, 224), (224, 224), (352, 288)])
def test_of_any_size_that_the_network_takes(size):
    model = trained_like("A-Net", size)
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    one = native.Compiled(model, picture[None], "f32", 3)  # threads, more than there are rows of the smallest features
    one.infer()
    expected = logits_of(model, picture)
    assert apart(one.logits, expected) <= ROUNDING


def test_each_part_of_the_network_is_seen(pictures):
    """What the tests above rest on: without a convolution, or with another slope, the logits move by more than they allow."""
    model = trained_like("A-Net", pictures.shape[1:3])
    expected = logits_of(model, pictures[0])
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.PReLU)):
            kept = module.weight.data
            module.weight.data = torch.zeros_like(kept)
            assert apart(logits_of(model, pictures[0]), expected) > ROUNDING
            module.weight.data = kept


def test_two_cameras_take_turns(pictures):
    """Calls from several threads, by one library: no logits of one in those of the other."""
    model = trained_like("QuarterNet", pictures.shape[1:3])
    ours = [native.Compiled(model, picture[None].copy(), "f32", 1) for picture in pictures]
    assert ours[0].function is ours[1].function
    expected = [logits_of(model, picture) for picture in pictures]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):
            list(pool.map(lambda one: one.infer(), ours))
            assert all(apart(one.logits, of_torch) <= ROUNDING for one, of_torch in zip(ours, expected))


@pytest.mark.parametrize("change", [lambda p: p[..., ::-1], lambda p: p[:, :, :32], lambda p: p.astype(np.float32), lambda p: p[0], lambda p: np.repeat(p, 2, 0)])
def test_a_picture_that_lies_otherwise_in_memory_is_refused(change, pictures):
    with pytest.raises(ValueError, match=r"^the picture is not uint8 \(1, H, W, 3\), one row behind the other"):
        native.Compiled(build("A-Net"), change(pictures[:1]), "f32", 1)


@pytest.mark.parametrize("size", [(100, 96), (96, 0), (16, 32)])
def test_a_size_that_the_network_does_not_take_is_refused(size):
    with pytest.raises(ValueError, match="^the network takes no pictures of .*; give multiples of 32.$"):
        native.source(build("A-Net"), size)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of that kind")
def test_bf16_is_refused_for_a_processor_that_lacks_it(tmp_path):
    with pytest.raises(ValueError, match="does not multiply bfloat16: leave -DBF16 away"):
        native.compile_source(native.BLOCKS.read_text(), tmp_path, ("-DBF16", "-march=haswell"))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of that kind")
@pytest.mark.parametrize("flags", [("-march=haswell",), ("-march=x86-64", "-fno-openmp")])
def test_on_processors_with_narrower_registers(flags, pictures, tmp_path):
    """With the registers of AVX2, and with what every such processor has, on one thread without OpenMP."""
    size = pictures.shape[1:3]
    model = trained_like("A-Net", size)
    library = native.compile_source(native.source(model, size), tmp_path, flags)
    logits = np.zeros((1, 1, *size), np.float32)
    pointers = (values.ctypes.data_as(ctypes.c_void_p) for values in (pictures[0], logits))
    ctypes.CDLL(str(library)).anet(*pointers, 2)
    expected = logits_of(model, pictures[0])
    assert apart(logits, expected) <= ROUNDING


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
    model = trained_like("QuarterNet", pictures.shape[1:3])
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
    assert apart(np.frombuffer(out, np.float32), expected) <= ROUNDING


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
