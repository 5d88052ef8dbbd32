"""Export of a network to OpenVINO and ONNX, and its compiled form."""

import warnings
from pathlib import Path

import openvino as ov
import torch
from torch import nn

PRECISIONS = ("f32", "bf16")


def native_precisions() -> list[str]:
    """Those of PRECISIONS that this CPU computes natively."""
    return [name for name in PRECISIONS if name == "f32" or name.upper() in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")]


def to_openvino(model: nn.Module, size: int) -> ov.Model:
    """An OpenVINO model of a network in evaluation mode, for one 3 x size x size image, float32 weights."""
    example = torch.zeros(1, 3, size, size)
    with warnings.catch_warnings():
        # The check of the input's size is not part of the traced network, on purpose.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        exported = ov.convert_model(model.eval(), example_input=example)
    exported.reshape([1, 3, size, size])
    return exported


def to_onnx(model: nn.Module, size: int, path: Path) -> None:
    """Write an ONNX file of a network in evaluation mode, for one 3 x size x size image, float32."""
    example = torch.zeros(1, 3, size, size)
    torch.onnx.export(
        model.eval(), (example,), path, input_names=["image"], output_names=["logits"],
        dynamo=True, external_data=False, verbose=False,
    )


def compile_for_cpu(model: ov.Model, precision: str, threads: int) -> ov.CompiledModel:
    """The model compiled for latency on this CPU.

    Args:
        precision: "f32" or "bf16". It is always set, because OpenVINO by itself takes bf16 where the
            processor has it.

    Raises:
        ValueError: another precision, or one that this CPU lacks.
    """
    if precision not in native_precisions():
        raise ValueError(f"precision {precision!r} is not to be had on this CPU; it has {', '.join(native_precisions())}.")
    return ov.compile_model(model, "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
    })
