"""A trained network as one C++ file that needs nothing but a compiler, and that file compiled and called.

OpenVINO computes one operator after the other, each for the whole picture and on all threads; those of A-Net have so little to do that
about half of the time is neither arithmetic nor moving data (see the page on deployment). ``native.cpp`` computes a block row by row.
"""

import ctypes
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from anet_core.blocks import KINDS, CatBlock, DownBlock, LightBlock, SegHead, SumLast, UpBlock, WideBlock
from anet_core.network import MULTIPLE, ANet
from anet_core.prediction import HALF
from anet_core.quarter import SIDE, QuarterNet
from data_prep.whole import whole

BLOCKS = Path(__file__).with_suffix(".cpp")
FLAGS = {"f32": (), "bf16": ("-DBF16",)}  # precisions, and what the compiler is told for them
A_LINE = 8  # numbers


class Convolution(NamedTuple):
    """A convolution with the norm and the PReLU behind it, as ``native.cpp`` takes it."""

    kernel: Tensor  # (taps, C_in, C_out); C_in is 1 where each channel is by itself
    bias: Tensor  # (C_out,)
    slope: float = 1  # of the PReLU; 1 where there is none


def source(network: nn.Module, size: tuple[int, int]) -> str:
    """The C++ file of a trained network, whose first lines say how it is compiled: ``void anet(const uint8_t *picture, float *logits, int threads)``.

    Args:
        network: A-Net, by either reading, or QuarterNet.
        size: height and width of the picture, multiples of 32.

    Raises:
        ValueError: another network, or another size.
    """
    height, width = size
    if any(side < MULTIPLE or side % MULTIPLE for side in size):
        raise ValueError(f"the network takes no pictures of {height}x{width}; give multiples of {MULTIPLE}.")
    maps, calls = program(network, size)
    with torch.no_grad():
        found = [convolution for block in in_order(network) for convolution in convolutions(block)]
    shapes = ", ".join("{%d, %d, %d}" % tuple(one.kernel.shape) for one in found)
    floats = torch.cat([torch.cat((one.kernel.flatten(), one.bias, torch.tensor([one.slope]))) for one in found]).float()
    written = [f"{value:.9g}" for value in floats.tolist()]
    return "\n".join([
        BLOCKS.read_text(), "// ---- The network", "",
        f"static const int shapes[][3] = {{{shapes}}};", "static const float floats[] = {",
        *(", ".join(written[i : i + A_LINE]) + "," for i in range(0, len(written), A_LINE)), "};", "",
        f"// From {height} rows of {width} pixels of 3 bytes, RGB, to as many logits, above 0 for a defect, on at least one thread. Calls take turns.",
        'extern "C" void anet(const uint8_t *picture, float *logits, int threads) {',
        "    static std::mutex turn;", "    const std::lock_guard<std::mutex> mine(turn);  // the features lie where the next call writes",
        f"    static const auto all = convolutions(shapes, {len(found)}, floats);",
        *(f"    static const features {name}({shape});" for name, shape in maps.items()),
        "    (void)threads;", "#pragma omp parallel num_threads(threads)", "    {", "        reader weights{all.data()};",
        *(f"        {call};" for call in calls), "    }", "}", "",
    ])


def write(network: nn.Module, size: tuple[int, int], path: Path) -> None:
    """Write what ``source`` returns, whole or not at all."""
    text = source(network, size)
    with whole(Path(path)) as temporary:
        temporary.write_text(text)


def in_order(network: nn.Module) -> list[nn.Module]:
    """The blocks of a network as they compute. ValueError for one that has no form in C++."""
    blocks = []
    if isinstance(network, ANet) and isinstance(network.cat, CatBlock):
        small = isinstance(network, QuarterNet)
        first, middle = network.detail_extraction, [*network.semantic_extraction, *network.semantic_fusion, network.cat, network.cat.extraction]
        blocks = [*first[3 * small :], *middle, *([network.detail_fusion] if small else [*network.detail_fusion, network.head])]
    if not blocks or not all(isinstance(block, (*KINDS, SumLast)) for block in blocks):
        raise ValueError("only A-Net, A-Net:sum-last and QuarterNet have a form in C++, and not this network; export it to openvino or onnx.")
    return [first[:3], *blocks, network.head] if small else blocks


def has_form(network: nn.Module) -> bool:
    """Whether a network has a form in C++."""
    try:
        in_order(network)
    except ValueError:
        return False
    return True


def program(network: nn.Module, size: tuple[int, int]) -> tuple[dict[str, str], list[str]]:
    """The feature maps of a network, each with height, width, channels and the width of its frame, and the calls that compute it."""
    maps, calls = {}, []
    at, down = "picture", 1  # where the features lie, and how many times smaller than the picture they are

    def made(name: str, channels: int, frame: int = 1) -> str:
        maps[f"{name}{down}"] = ", ".join(map(str, (*(side // down for side in size), channels, frame)))
        return f"{name}{down}"

    for i, block in enumerate(in_order(network)):
        match block:
            case DownBlock():
                down *= 2
                before, at = at, made("down", block.body[6].out_channels)
                calls.append(f"{'down' if i else 'first_down'}(weights, {before}, {at})")
            case LightBlock() | WideBlock() | SumLast():
                kind = "light" if block.body[3].groups > 1 else "wide"
                narrowed = made("narrow", block.body[0].out_channels, 2)
                calls.append(f"{kind}(weights, {at}, {narrowed}{', true' * isinstance(block, SumLast)})")
            case UpBlock():
                shortcut = made("shortcut", block.body[6].out_channels)
                down //= 2
                before, at = at, made("up", block.body[6].out_channels)
                calls.append(f"up(weights, {before}, {shortcut}, {at})")
            case CatBlock():
                detail, semantic, at = f"down{down}", at, made("cat", block.compress[1].out_channels)
                calls.append(f"compress(weights, {detail}, {semantic}, {at})")
            case SegHead():
                calls.append(f"head(weights, {at}, logits)")
            case _ if i:
                calls.append(f"last_quarter(weights, {at}, logits)")
            case _:
                down = SIDE
                at = made("down", block[0].out_channels)
                calls.append(f"first_quarter(weights, picture, {at})")
    return maps, calls


def convolutions(block: nn.Module) -> list[Convolution]:
    """Those of a block in the order in which ``native.cpp`` reads them."""
    match block:
        case DownBlock():
            narrow, strided, expand = folded(*block.body[:3]), folded(*block.body[3:6]), folded(*block.body[6:8], block.activation)
            shortcut = folded(*block.shortcut[1:])
            if len(narrow.kernel[0]) == 3:
                narrow, shortcut = of_bytes(narrow), of_bytes(shortcut)
            return [narrow, strided, expand, shortcut]
        case LightBlock() | WideBlock() | SumLast():
            narrow, filters, expand = folded(*block.body[:3]), block.body[3:7], folded(*block.body[7:9], block.activation)
            return [narrow, folded(filters[0]), folded(*filters[1:]), expand]
        case UpBlock():
            halves = rows(*block.body[3:6])
            return [folded(*block.body[:3]), *halves, folded(*block.body[6:8], block.activation), folded(*block.shortcut[:2])]
        case CatBlock():
            both = folded(block.compress[0])
            halves = [Convolution(*half) for half in zip(both.kernel.chunk(2, -1), both.bias.chunk(2))]
            return [*halves, folded(block.compress[1])]
        case SegHead():
            deconvolution, slope, norm, filter, mix, mixed_norm, mixed_slope, last = block.body
            scale, shift = (part.repeat(2) for part in scale_and_shift(norm))
            of_channels = last.weight.permute(2, 3, 0, 1).reshape(9, 1, -1)  # their products are summed behind it, and so is the bias
            bias = torch.zeros(of_channels.shape[-1])
            bias[0] = last.bias
            return [
                *rows(deconvolution, None, slope), Convolution(scale[None, None], shift), folded(filter), folded(mix, mixed_norm, mixed_slope),
                Convolution(of_channels, bias),
            ]
        case nn.Sequential() if block[0].in_channels == 3:
            whole = folded(*block)
            taps, side = whole.kernel.unflatten(0, block[0].kernel_size), block[0].kernel_size[1]
            mine = of_bytes(Convolution(taps.flatten(0, 1), whole.bias, whole.slope))
            return [mine._replace(kernel=mine.kernel.reshape(side, -1, len(whole.bias)))]
        case nn.Sequential():
            whole = folded(block[0])
            return [whole._replace(kernel=whole.kernel.reshape(block[0].kernel_size[0], -1, len(whole.bias)))]


def folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d | None = None, activation: nn.PReLU | None = None) -> Convolution:
    """A convolution with the norm and the PReLU behind it."""
    kernel = convolution.weight.permute(2, 3, 1, 0).flatten(0, 1).double()  # (taps, C_in, C_out)
    bias = torch.zeros(kernel.shape[-1]) if convolution.bias is None else convolution.bias
    return behind(kernel, bias.double(), norm, activation)


def rows(deconvolution: nn.ConvTranspose2d, norm: nn.BatchNorm2d | None, activation: nn.PReLU) -> list[Convolution]:
    """A 2x2 stride-2 deconvolution as two pointwise convolutions, to the upper and the lower row, each to the channels of two neighbouring pixels."""
    kernel = deconvolution.weight.permute(2, 0, 3, 1).flatten(2).double()  # (rows, C_in, columns*C_out)
    return [behind(row[None], torch.zeros(row.shape[-1]).double(), norm, activation) for row in kernel]


def behind(kernel: Tensor, bias: Tensor, norm: nn.BatchNorm2d | None, activation: nn.PReLU | None) -> Convolution:
    """A kernel (taps, C_in, C_out) and bias with a norm, of as many channels or half as many, folded in."""
    if norm is not None:
        scale, shift = (part.repeat(kernel.shape[-1] // norm.num_features) for part in scale_and_shift(norm))
        kernel, bias = kernel * scale, bias * scale + shift
    return Convolution(kernel, bias, 1 if activation is None else activation.weight.item())


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a norm in evaluation mode multiplies each channel by, and then adds."""
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def of_bytes(one: Convolution) -> Convolution:
    """A convolution of scaled pixels (``prediction.normalise``) as one of bytes, with a fourth channel that it passes over."""
    beside = torch.zeros_like(one.kernel[:, :1])
    return one._replace(kernel=torch.cat((one.kernel / HALF, beside), 1), bias=one.bias - one.kernel.sum((0, 1)))


class Compiled:
    """The C++ file of a network, compiled for this machine.

    Attributes:
        logits: float32 (1, 1, H, W), which ``infer`` writes.
    """

    def __init__(self, network: nn.Module, picture: np.ndarray, precision: str, threads: int) -> None:
        """Compile it.

        Args:
            picture: uint8 (1, H, W, 3), which is not copied: what is written into it is what the next ``infer`` sees.
            precision: one of ``precisions()``.
            threads: at least 1.

        Raises:
            ValueError: another network, another picture, or no compiler, or one that fails.
        """
        if picture.dtype != np.uint8 or picture.ndim != 4 or picture.shape[::3] != (1, 3) or not picture.flags.c_contiguous:
            raise ValueError("the picture is not uint8 (1, H, W, 3), one row behind the other in memory; give numpy.ascontiguousarray(picture).")
        size = picture.shape[1:3]
        self.picture, self.logits = picture, np.zeros((1, 1, *size), np.float32)
        self.function = loaded(source(network, size), FLAGS[precision]).anet
        self.arguments = (*(values.ctypes.data_as(ctypes.c_void_p) for values in (picture, self.logits)), ctypes.c_int(threads))

    def infer(self) -> None:
        """From the picture to ``logits``."""
        self.function(*self.arguments)


def precisions() -> list[str]:
    """Those of FLAGS that this machine compiles for and computes in; none where it has no compiler that does."""
    found = []
    for name, flags in FLAGS.items():
        try:
            loaded(BLOCKS.read_text(), flags)
        except ValueError:
            continue
        found.append(name)
    return found


@lru_cache
def loaded(text: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    """A C++ file, compiled and loaded. ValueError where it cannot be compiled."""
    with tempfile.TemporaryDirectory() as folder:
        return ctypes.CDLL(str(compile_source(text, Path(folder), flags)))  # which outlives its file


def compiler_version() -> str:
    """What the compiler says of itself."""
    return subprocess.run([*compiler(), "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]


def compiler() -> list[str]:
    """The command of the C++ compiler: CXX, or else c++."""
    return shlex.split(os.environ.get("CXX") or "c++")


def compile_source(text: str, folder: Path, flags: Sequence[str] = ()) -> Path:
    """A shared library of a C++ file, for the processor of this machine. ValueError where that fails."""
    file, library = folder / "anet.cpp", folder / "libanet.so"
    file.write_text(text)
    command = [*compiler(), "-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", *flags, str(file), "-o", str(library)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
    except FileNotFoundError:
        raise ValueError(f"there is no C++ compiler {command[0]!r} here; install g++ or clang++, or name one in CXX.") from None
    except subprocess.CalledProcessError as error:
        said = next((line for line in error.stderr.splitlines() if "error" in line or "cannot find" in line), "no reason given")
        raise ValueError(f"{shlex.join(command[:-3])} fails ({said.strip()}); name another compiler in CXX.") from None
    return library
