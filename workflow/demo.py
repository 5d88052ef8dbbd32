"""What the page "Try it" computes with: A-Net, the runtime that runs it in a browser, and three synthetic pictures.

    python workflow/demo.py [WEIGHTS]

A page opened from file:// may load scripts but fetch nothing, so each is written as a script, text that holds its bytes. The
runtime comes from npm, once, at a pinned version with a pinned hash.
"""

import argparse
import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
from torch import nn

from anet_core import deployment, metrics, predict, records, weights
from data_prep import format, synthetic
from data_prep.command_line import exit_code
from data_prep.whole import whole

BUILT = Path(__file__).resolve().parents[1] / "book" / "extra" / "demo" / "built"
WEIGHTS = weights.tuned("neu-inclusion")
PACKAGE = "onnxruntime-web@1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # npm view
MEMBERS = {"module": "package/dist/ort.wasm.bundle.min.mjs", "wasm": "package/dist/ort-wasm-simd-threaded.wasm"}


def build(path: Path) -> None:
    """Write the scripts that the page loads to BUILT; the runtime only when its version is not there yet.

    Args:
        path: weights of a run, whose record lies beside them as ``anet_core.run`` leaves it.

    Raises:
        FileNotFoundError, ValueError: see ``weights.load``, ``records.read``, ``fetch`` and ``unpack``.
    """
    model = weights.load(path)
    recorded = path.parents[1] / "runs" / f"{path.stem}.json"
    if not recorded.is_file():
        raise FileNotFoundError(f"{recorded} is missing; give weights from a results folder that also holds their run's record.")
    runtime = BUILT / f"{PACKAGE}.js"
    if not runtime.is_file():
        older = list(BUILT.glob("*@*.js"))
        write_script(runtime, "runtime", {name: packed(data) for name, data in unpack(fetch()).items()})
        for script in older:
            script.unlink()
    write_script(BUILT / "model.js", "model", packed(to_onnx(model)))
    # Last, because the page takes it as the sign that the others are there.
    write_script(BUILT / "about.js", "about", {
        "package": PACKAGE, "weights": path.stem, "sha256": format.sha256(path),
        "iou": records.read(recorded)["iou_pooled"], "samples": samples(model),
    })


def fetch() -> bytes:
    """The runtime's npm package, a gzipped tar, from the registry that npm is set to.

    Raises:
        FileNotFoundError: npm is not installed. ValueError: it cannot get the package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(f'npm is not installed, so {PACKAGE} cannot be fetched and the page "Try it" stays without it.')
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([npm, "pack", PACKAGE, "--pack-destination", folder], capture_output=True, text=True)
        packages = list(Path(folder).glob("*.tgz"))
        if done.returncode or not packages:
            reason = next((line for line in done.stderr.splitlines() if "error" in line.lower()), "it says nothing")
            raise ValueError(f'npm cannot fetch {PACKAGE} ({reason}), so the page "Try it" stays without it.')
        return packages[0].read_bytes()


def unpack(package: bytes, integrity: str = INTEGRITY) -> dict[str, bytes]:
    """The files of an npm package that the page needs, by the names of ``MEMBERS``.

    Args:
        integrity: "sha512-" and the hash of the package in base64, as npm prints it.

    Raises:
        ValueError: the package has another hash, or lacks a file.
    """
    found = "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode()
    if found != integrity:
        raise ValueError(f"{PACKAGE} arrived as {found} where {integrity} is pinned; it is not used.")
    with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as tar:
        try:
            return {name: tar.extractfile(member).read() for name, member in MEMBERS.items()}
        except KeyError as error:
            raise ValueError(f"{PACKAGE} lacks a file ({error.args[0]}); set MEMBERS in workflow/demo.py anew.") from None


def to_onnx(model: nn.Module) -> bytes:
    """The ONNX file of a network for pictures of any size, see ``deployment.to_onnx``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        deployment.to_onnx(model, None, path)
        return path.read_bytes()


def samples(model: nn.Module) -> list[dict]:
    """One synthetic picture of each kind of defect as a PNG, and the IoU (percent) that the network reaches on it."""
    drawn = []
    for name, image, mask in islice(synthetic.samples(), 3):  # the kinds take turns
        prediction = predict(model, np.asarray(image.convert("RGB")))
        counts = metrics.confusion(prediction[None], np.asarray(mask)[None] == 255)
        png = io.BytesIO()
        image.save(png, "PNG", optimize=True)
        drawn.append({
            "name": name.split("_")[0], "iou": 100 * metrics.iou_pooled(counts),
            "url": f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}",
        })
    return drawn


def packed(data: bytes) -> str:
    """Bytes as text, which ``unpacked`` in demo.js turns back: gzip, then base64."""
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def write_script(path: Path, name: str, value: object) -> None:
    """Write a script that sets ``anetDemo``'s property of that name, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        temporary.write_text(f"anetDemo.{name} = {json.dumps(value)};\n", encoding="utf-8")


@exit_code
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="?", type=Path, default=WEIGHTS, help="by default those of %(default)s")
    build(parser.parse_args().weights.resolve())
    print(BUILT)


if __name__ == "__main__":
    sys.exit(main())
