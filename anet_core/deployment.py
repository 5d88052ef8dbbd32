"""Export of a network to OpenVINO and ONNX, in eight bits too, and its compiled form."""

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from openvino import opset13
from torch import nn

from anet_core import timing
from anet_core.network import MULTIPLE, ANet
from anet_core.peers.enet import ENet
from anet_core.prediction import HALF
from anet_core.quarter import QuarterNet
from data_prep.whole import whole

PRECISIONS = ("f32", "bf16")
FIRST = ("detail_extraction.0", "detail_extraction.1", "detail_extraction.2")  # S1 of A-Net; QuarterNet's first convolution, norm and PReLU
STARTS = {ANet: FIRST, QuarterNet: FIRST, ENet: ("initial",)}
NOTED_WHITE = ["anet", "white"]  # where a model's notes have it


def native_precisions() -> list[str]:
    """Those of PRECISIONS that this CPU computes natively."""
    return [name for name in PRECISIONS if name == "f32" or name.upper() in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")]


def require_native(precision: str) -> None:
    """Raise ValueError unless this CPU computes natively in a precision."""
    if precision == "int8":
        raise ValueError('int8 is what a file holds: write one with "anet export --precision int8" and give it as --weights, with --precision f32.')
    if precision not in native_precisions():
        raise ValueError(f"this CPU does not compute in {precision!r}; choose from {', '.join(native_precisions())}.")


def fastest(model: ov.Model, threads: int, image: np.ndarray) -> str:
    """The native precision that a model is measured to compute fastest in: on some CPUs bf16 takes longer than f32."""
    functions = {precision: request(compile_for_cpu(model, precision, threads), image).infer for precision in native_precisions()}
    return timing.latencies(functions, 2 * timing.BURST, burst=timing.BURST).median().idxmin()


def to_openvino(model: nn.Module, size: int | tuple[int, int]) -> ov.Model:
    """An OpenVINO model of a network in evaluation mode, for one image, float32 weights.

    Args:
        size: height and width of the image, or the side of a square one.
    """
    height, width = (size, size) if isinstance(size, int) else size
    example = torch.zeros(1, 3, height, width)
    with warnings.catch_warnings():
        # The check of the input's size is not part of the traced network, on purpose.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        # Tracing again to compare, as torch does by itself, takes a third of the time; no network here branches on values.
        traced = torch.jit.trace(model.eval(), example, check_trace=False)
        exported = ov.convert_model(traced, example_input=example)
    exported.reshape([1, 3, height, width])
    return exported


def from_picture(model: ov.Model, white: int | None = None) -> ov.Model:
    """A copy of a model of ``to_openvino`` or ``quantise`` that takes the picture itself, uint8 (1, H, W, 3), as it lies in memory.

    It scales the values as ``prediction.normalise`` does. A program that leaves this to the model is faster than one that does it by torch,
    whose threads stay awake for a while and are then in the way of OpenVINO's.

    Args:
        white: noted in the model for who reads pictures of 16 bits for it, see ``white``.
    """
    model = model.clone()
    taken = model.input(0)
    picture = opset13.parameter([1, *taken.shape[2:], 3], np.uint8, name="picture")
    scaled = opset13.subtract(opset13.divide(opset13.convert(picture, np.float32), np.float32(HALF)), np.float32(1))
    # Channels change places last, which OpenVINO then leaves out, as its convolutions have them side by side; its PrePostProcessor does it first.
    planes = opset13.transpose(scaled, np.array([0, 3, 1, 2]))
    for reader in taken.get_target_inputs():
        reader.replace_source_output(planes.output(0))
    model.output(0).set_names({"logits"})
    taking = ov.Model(model.outputs, [picture])
    if white:
        taking.set_rt_info(white, NOTED_WHITE)
    return taking


def white(model: ov.Model) -> int | None:
    """What is noted in a model of ``from_picture`` as white in grey pictures of 16 bits, if anything is."""
    return int(model.get_rt_info(NOTED_WHITE).value) if model.has_rt_info(NOTED_WHITE) else None


def read(path: Path) -> ov.Model:
    """The model of a file that ``anet export --format openvino`` wrote.

    Raises:
        FileNotFoundError: it, or the file of its numbers beside it, does not exist.
        ValueError: it is damaged, or of something that does not take one picture.
    """
    for file in (path, path.with_suffix(".bin")):
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist; export the network again, and keep .xml and .bin together.")
    try:
        model = ov.Core().read_model(path)
    except RuntimeError:
        raise ValueError(f"{path} and the .bin beside it are not a whole model of OpenVINO; export the network again.") from None
    shapes = [put.partial_shape for put in (*model.inputs, *model.outputs)]
    wanted = ov.PartialShape([1, -1, -1, 3]), ov.PartialShape([1, 1, -1, -1])
    if len(shapes) != 2 or not all(shape.is_static and shape.compatible(like) for shape, like in zip(shapes, wanted)):
        raise ValueError(f"{path} is not of a network from a picture of one size to its mask; give a file that anet export wrote.")
    return model


def write(model: ov.Model, path: Path) -> None:
    """Write a model as OpenVINO's two files, NAME.xml and NAME.bin, in f32, whole or not at all. OSError where that fails."""
    path = Path(path)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            ov.save_model(model, Path(folder) / path.name, compress_to_fp16=False)
            for suffix in (".bin", ".xml"):
                os.replace((Path(folder) / path.name).with_suffix(suffix), path.with_suffix(suffix))
    except (RuntimeError, OSError) as error:
        raise OSError(f"{path} and the .bin beside it cannot be written ({' '.join(str(error).split())}); make place for them, or write elsewhere.") from None


def resized(model: ov.Model, size: tuple[int, int]) -> ov.Model:
    """A copy of a model of ``from_picture`` for pictures of another height and width, multiples of 32."""
    model = model.clone()
    model.reshape([1, *size, 3])
    return model


def to_onnx(model: nn.Module, size: int | tuple[int, int] | None, path: Path) -> None:
    """Write an ONNX file of a network in evaluation mode, float32: "image" (1, 3, H, W) to "logits".

    Args:
        size: as of ``to_openvino``; None for any multiples of 32 up to 4096, where the network itself takes them.
    """
    height, width = (64, 96) if size is None else (size, size) if isinstance(size, int) else size
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing, which nothing here uses
    free = ({side: MULTIPLE * torch.export.Dim(name, min=1, max=128) for side, name in ((2, "h"), (3, "w"))},)
    program = torch.onnx.export(
        model.eval(), (torch.zeros(1, 3, height, width),), input_names=["image"], output_names=["logits"],
        dynamic_shapes=free if size is None else None, dynamo=True, verbose=False,
    )
    file = program.model_proto
    # The exporter notes in each node where in whose folder it was called; that is nobody's business, and a quarter of the file.
    for part in (*file.graph.node, *file.graph.value_info, *file.graph.input, *file.graph.output, file.graph, file):
        del part.metadata_props[:]
    with whole(Path(path)) as temporary:
        temporary.write_bytes(file.SerializeToString())


def quantise(model: ov.Model, images: np.ndarray, floating: Sequence[str]) -> ov.Model:
    """The model in eight bits, weights and inputs of convolutions above all, as nncf makes it of itself.

    Args:
        images: what the network takes, float32 (N, 3, H, W): pictures like those it will see, which set the ranges of the
            inputs; 100 are enough.
        floating: modules (see ``place``, ``start``) that stay as they are, with all that is in them.
    """
    import nncf
    from nncf.quantization.advanced_parameters import QuantizationParameters

    nncf.set_log_level(logging.ERROR)
    kept = [
        operator.get_friendly_name() for operator in model.get_ops()
        if operator.get_type_name() not in ("Constant", "Parameter", "Result")
        and f"{place(operator)}.".startswith(tuple(f"{module}." for module in floating))
    ]
    # Bias correction is for networks that lose without it; on A-Net it changes nothing and takes half of the time.
    # One range for all channels, of inputs of depthwise convolutions too: others OpenVINO cannot move past a reshape into the convolution before.
    settings = nncf.AdvancedQuantizationParameters(
        disable_bias_correction=True, activations_quantization_params=QuantizationParameters(per_channel=False)
    )
    with contextlib.redirect_stdout(sys.stderr):  # its progress bar is no result
        return nncf.quantize(
            model.clone(), nncf.Dataset(list(images[:, None])), subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(names=kept, validate=False), advanced_parameters=settings,
        )


def start(network: nn.Module) -> tuple[str, ...]:
    """The first modules of a network, where int8 costs most of the IoU: those of STARTS; of other networks nothing is known."""
    return STARTS.get(type(network), ())


def place(operator: ov.Node) -> str:
    """The module of the network that an operator of its export came from, as "head.body.3".

    A convolution takes the name of the norm that was folded into it; what reads its result still knows.
    """
    while not operator.get_friendly_name().startswith("__module."):
        readers = [reader.get_node() for output in operator.outputs() for reader in output.get_target_inputs()]
        if not readers:
            return ""
        operator = readers[0]
    return operator.get_friendly_name().removeprefix("__module.").partition("/")[0]


def compile_for_cpu(model: ov.Model, precision: str, threads: int, **settings: object) -> ov.CompiledModel:
    """The model compiled for latency on this CPU.

    Args:
        precision: "f32" or "bf16". It is always set, because OpenVINO by itself takes bf16 where the
            processor has it. Of a quantised model, it is that of the operators that stayed as they were.
        settings: further properties of OpenVINO.

    Raises:
        ValueError: another precision, or one that this CPU lacks, or what OpenVINO refuses.
    """
    require_native(precision)
    try:
        return ov.Core().compile_model(model, "CPU", {
            "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **settings,
        })
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"OpenVINO cannot compile the network with {threads} threads ({str(error).strip().splitlines()[-1]}); give fewer threads, smaller pictures or a smaller --tile.") from None


def request(compiled: ov.CompiledModel, image: np.ndarray) -> ov.InferRequest:
    """What runs the model on an image, of what the model takes, which is not copied: keep it, and what is written into it is what the next run sees."""
    made = compiled.create_infer_request()
    made.set_input_tensor(ov.Tensor(image, shared_memory=True))
    return made
