"""Fig. 7 again: the latency of the eight networks on this machine, and of ours rewritten, A-Net with its seg head and without, QuarterNet, and in C++.

    python workflow/fig7.py                      300 times each network
    python workflow/fig7.py --iterations 5000    as often as the paper

Writes results/timing/MACHINE.csv. A-Net and QuarterNet have trained weights; the others are as initialised, which takes as long.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
import openvino as ov
import pandas as pd
import torch
from torch import nn

from anet_core import build, deployment, native, timing, weights
from anet_core.inference import to_input
from anet_core.paper import table
from anet_core.rewrites import optimise
from anet_core.structure import SIZE
from anet_core.timing import BURST
from data_prep import synthetic
from data_prep.command_line import exit_code

WITHOUT_HEAD = "A-Net:light+wide+jump"  # the row of Table II without the seg head, which works at the full size of the picture
REWRITABLE = ("A-Net", WITHOUT_HEAD, "QuarterNet")  # their weights come with the repository
REWRITTEN = ", rewritten"  # behind the name of a network
IN_CPP = ("A-Net", "A-Net:sum-last", "QuarterNet")  # what ``native`` has a form of
OTHER_RUNTIMES = 5  # times fewer iterations for onnxruntime and torch, which are several times slower


def networks() -> dict[str, nn.Module]:
    """The networks of Fig. 7, and ours rewritten."""
    torch.manual_seed(0)
    models = {name: build(name).eval() for name in table("fig7_cpu_fps")["method"] if name != "A-Net"}
    models["A-Net"] = trained("neu-inclusion")
    return models | {name + REWRITTEN: optimise(trained("neu-inclusion", name)) for name in REWRITABLE}


def trained(dataset: str, model: str = "A-Net") -> nn.Module:
    """A network as it was trained on a data set."""
    return weights.load(weights.tuned(dataset, model))


def pictures(count: int) -> np.ndarray:
    """Synthetic pictures as the networks take them, float32 (count, 3, SIZE, SIZE): what int8 is calibrated on."""
    return np.concatenate([
        to_input(np.asarray(image.convert("RGB").resize((SIZE, SIZE)))) for _, image, _ in islice(synthetic.samples(), count)
    ])


def exports(models: dict[str, nn.Module], images: np.ndarray) -> dict[tuple[str, str], tuple[ov.Model, str]]:
    """OpenVINO models by network and precision, in int8 but for the start, and the precision of what floats in them.

    In int8 it is the one in which this machine is fastest.
    """
    exported = {}
    for name, model in models.items():
        floating = deployment.to_openvino(model, SIZE)
        exported |= {(name, precision): (floating, precision) for precision in deployment.native_precisions()}
        quantised = deployment.quantise(floating, images, deployment.start(model))
        exported[name, "int8"] = quantised, deployment.fastest(quantised, timing.cores(), images[:1].copy())
    return exported


def openvino_functions(exported: dict[tuple, tuple], threads: int, image: np.ndarray) -> dict[tuple, Callable]:
    """What runs each model once on the image."""
    return {
        ("OpenVINO", name, precision, threads): deployment.request(deployment.compile_for_cpu(model, floating, threads), image).infer
        for (name, precision), (model, floating) in exported.items()
    }


def cpp_functions(threads: int) -> dict[tuple, Callable]:
    """What runs each network in C++ once, on a picture as it lies in memory; none where there is no compiler."""
    image = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)
    return {
        ("C++", name, precision, threads): native.Compiled(trained("neu-inclusion", name), image, precision, threads).infer
        for name in IN_CPP for precision in native.precisions()
    }


def other_functions(models: dict[str, nn.Module], folder: Path, threads: int, image: np.ndarray) -> dict[tuple, Callable]:
    """The same in onnxruntime and in eager torch, float32."""
    functions = {}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    tensor = torch.from_numpy(image)
    for name, model in models.items():
        session = onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        functions["onnxruntime", name, "f32", threads] = lambda session=session: session.run(None, {"image": image})
        functions["torch", name, "f32", threads] = lambda model=model: model(tensor)
    return functions


def measured(functions: dict[tuple, Callable], iterations: int) -> pd.DataFrame:
    """Latencies, and the ratio to A-Net in the same runtime, precision and number of threads, a row a function."""
    torch.set_num_threads(next(iter(functions))[3])
    with torch.inference_mode():
        milliseconds = timing.latencies(functions, iterations, warmup=2, burst=BURST)
    rows = timing.summary(milliseconds).assign(iterations=iterations)
    faster = [
        timing.ratios(group.T, (runtime, "A-Net", precision, threads))
        for (runtime, precision, threads), group in milliseconds.T.groupby(level=[0, 2, 3])
    ]
    return rows.join(pd.concat(faster)).rename_axis(["runtime", "network", "precision", "threads"]).reset_index()


def beside_benchmark_app(exported: dict[tuple, tuple], threads: int, image: np.ndarray, iterations: int) -> pd.DataFrame:
    """Medians by OpenVINO's own tool and by ours, of each model straight after one another, so that the machine is the same to both."""
    functions = openvino_functions(exported, threads, image)
    rows = []
    for (name, precision), (model, floating) in exported.items():
        key = "OpenVINO", name, precision, threads
        tool = benchmark_app(model, floating, threads, iterations)
        ours = timing.latencies({key: functions[key]}, iterations).median().item()
        rows.append((*key, tool, ours))
    return pd.DataFrame(rows, columns=["runtime", "network", "precision", "threads", "benchmark_app_ms", "beside_ms"])


def benchmark_app(model: ov.Model, floating: str, threads: int, iterations: int) -> float:
    """The median in milliseconds that OpenVINO's own tool finds for the same model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(model, path, compress_to_fp16=False)
        subprocess.run([
            Path(sys.executable).with_name("benchmark_app"), "-m", path, "-d", "CPU", "-api", "sync", "-hint", "none", "-nstreams", "1",
            "-nthreads", str(threads), "-infer_precision", floating, "-niter", str(iterations),
            "-json_stats", "-report_type", "no_counters", "-report_folder", folder,
        ], check=True, capture_output=True)
        report = json.loads((Path(folder) / "benchmark_report.json").read_text())
    return float(report["execution_results"]["latency (ms)"])


@exit_code
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=300, help=f"of each network, a multiple of {BURST * OTHER_RUNTIMES}")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, timing.cores()}))
    options = parser.parse_args()
    if options.iterations % (BURST * OTHER_RUNTIMES) or options.iterations < 1:
        parser.error(f"--iterations {options.iterations} is not a multiple of {BURST * OTHER_RUNTIMES}")
    models, images = networks(), pictures(30)
    exported, image = exports(models, images), images[:1].copy()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            deployment.to_onnx(model, SIZE, Path(folder) / f"{name}.onnx")
        for threads in options.threads:
            rows.append(measured(openvino_functions(exported, threads, image) | cpp_functions(threads), options.iterations))
            rows.append(measured(other_functions(models, Path(folder), threads, image), options.iterations // OTHER_RUNTIMES))
    rows = pd.concat(rows).merge(beside_benchmark_app(exported, max(options.threads), image, options.iterations), how="left")
    versions = {"OpenVINO": ov.__version__.split("-")[0], "onnxruntime": onnxruntime.__version__, "torch": torch.__version__}
    if native.precisions():
        versions["C++"] = native.compiler_version()
    rows["version"] = rows["runtime"].map(versions)
    path = timing.FOLDER / f"{timing.machine()}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.round(4).to_csv(path, index=False)
    print(rows.drop(columns=["version", "iterations"]).round(2).to_string(index=False))
    print(path)


if __name__ == "__main__":
    sys.exit(main())
