"""Masks in use: a trained network, compiled by OpenVINO for this CPU, on pictures of any size.

    from anet_core.inference import Segmenter
    mask = Segmenter("neu-inclusion")(image)
"""

import time
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import openvino as ov
import torch
from torch import nn

from anet_core import deployment, subject, weights
from anet_core.network import MULTIPLE
from anet_core.prediction import THRESHOLD, logit, normalise, require_pictures
from anet_core.rewrites import optimise
from anet_core.tiling import OVERLAP, require_tiles, tiled
from anet_core.timing import cores
from data_prep.own import TILE

SIZES = 8  # compiled models kept; each size of picture up to a tile needs its own


class Segmenter:
    """A trained network in use; several threads may call one, and take turns at the network.

    Args:
        name: of weights, see ``weights_file``.
        precision: one of ``deployment.native_precisions()``; of an int8 file, that of what stayed floating in it.
        threads: of the CPU; None for all.
        tile, overlap: pictures with a side above ``tile`` are cut, see ``tiling.tiled``; None for the longer side of what a file of
            OpenVINO was exported for, or else of ``size``, and for 64 pixels or half a tile.
        threshold: the probability above which a pixel is a defect.

    Attributes:
        white: of grey 16-bit pictures, as ``dataset.read_image`` takes it.

    Raises:
        FileNotFoundError, ValueError: see ``weights_file``, ``weights.load``, ``deployment.read`` and ``tiling.require_tiles``;
            or a precision that this CPU lacks, or a threshold that is no probability.
    """

    def __init__(
        self, name: str | Path = "neu-inclusion", precision: str = "f32", threads: int | None = None,
        tile: int | None = None, overlap: int | None = None, threshold: float = THRESHOLD,
    ) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"the threshold {threshold:g} is no probability between 0 and 1; give one, {THRESHOLD} by default.")
        deployment.require_native(precision)
        path = weights_file(name)
        if path.suffix == ".xml":
            self.model = deployment.read(path)
        else:
            self.model = deployment.from_picture(deployment.to_openvino(load(path), size(path)), white(path))
        self.white = deployment.white(self.model)
        tile = tile or max(self.model.input(0).shape[1:3])
        overlap = min(OVERLAP, tile // 2) if overlap is None else overlap
        require_tiles(tile, overlap)
        self.least = logit(threshold)
        self.precision, self.threads, self.tile, self.overlap = precision, threads or cores(), tile, overlap
        self.compiled, self.turn = lru_cache(SIZES)(self.compile), Lock()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The mask of a picture, uint8 (H, W, 3) as ``dataset.read_image`` returns it: bool (H, W), True for a defect."""
        return self.timed(image)[0]

    def timed(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The mask of a picture, and the milliseconds of ``logits``."""
        logits, milliseconds = self.logits(image)
        return logits > self.least, milliseconds

    def logits(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """The logits of a picture, float32 (H, W), and the milliseconds of the network, summed over its tiles.

        Reading the picture, compiling the network for a new size and joining the tiles are not in them.
        """
        require_pictures(image, dimensions=(3,))
        milliseconds = 0.0

        def of_tile(part: np.ndarray) -> np.ndarray:
            nonlocal milliseconds
            pixels = np.ascontiguousarray(part)[None]
            with self.turn:  # what a model returns lies where its next call writes
                model = self.compiled(part.shape[:2])
                started = time.perf_counter()
                output = model(pixels)[0]
                milliseconds += 1000 * (time.perf_counter() - started)
                return output[0, 0].copy()

        return tiled(of_tile, image, self.tile, self.overlap), milliseconds

    def compile(self, size: tuple[int, int]) -> ov.CompiledModel:
        """The network compiled for pictures of this height and width."""
        model = deployment.compile_for_cpu(deployment.resized(self.model, size), self.precision, self.threads)
        model(np.zeros((1, *size, 3), np.uint8))  # the first call also takes memory, which is not to be timed
        return model


def load(name: str | Path, rewritten: bool = True) -> nn.Module:
    """The trained network that a name means (see ``weights_file``), as it is used and timed.

    Args:
        rewritten: see ``rewrites.optimise``.

    Raises:
        ValueError: an exported file, or see ``weights.load``.
    """
    path = weights_file(name)
    if path.suffix == ".xml":
        raise ValueError(f"{path} is an exported file, which anet predict, test and bench take; give the weights that it was made from.")
    network = weights.load(path)
    return optimise(network) if rewritten else network


def size(name: str | Path) -> tuple[int, int]:
    """Height and width of the pictures that the network of some weights (see ``weights_file``) was trained on, padded to multiples of 32.

    It stands in the file; of the first ones that were trained on published pictures it follows from the file's name. Where neither says
    it, it is that of the tiles that ``data_prep.own`` cuts pictures into.
    """
    path = weights_file(name)
    known = weights.pictures(path).get("size") or (subject.side(path.name.split("--")[0]) or TILE,) * 2
    return tuple(side + -side % MULTIPLE for side in known)


def white(name: str | Path) -> int | None:
    """What is white in the grey 16-bit pictures that the network of some weights was trained on; None where none was given for them."""
    return weights.pictures(weights_file(name)).get("white")


def to_input(image: np.ndarray) -> np.ndarray:
    """What the networks take, float32 (1, 3, H, W), of a picture, uint8 (H, W, 3)."""
    return normalise(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))[None])).numpy()


def weights_file(name: str | Path) -> Path:
    """The file of trained weights that a name means.

    Args:
        name: a path that ends in .safetensors, or in .xml, of a file that ``anet export`` wrote; or a data set's name, as
            "neu-inclusion", with ":" and the network's behind it where that is not A-Net: the one trained on it by the protocol
            ``tuned``, on split 0 with seed 0.

    Raises:
        FileNotFoundError: a name without such weights; the sentence lists those that have some. ValueError: a file for another runtime.
    """
    if str(name).endswith((".safetensors", ".xml")):
        return Path(name)
    if str(name).endswith((".onnx", ".cpp")):
        raise ValueError(f"{name} is for another runtime; give a .safetensors file, or an .xml that anet export wrote.")
    dataset, _, model = str(name).partition(":")
    path = weights.tuned(dataset, model or "A-Net")
    if not path.is_file():
        ending = path.name.rsplit("--", 3)[1:]
        kept = sorted(path.parent.glob("*.safetensors"))
        files = (file.name.rsplit("--", 4) for file in kept)
        known = ", ".join(sorted(weights.short_name(*parts[:2]) for parts in files if parts[2:] == ending)) or "none"
        asked = f"{dataset}--{(model or 'A-Net').replace(':', '-')}--"
        if others := [file for file in kept if file.name.startswith(asked)]:
            raise FileNotFoundError(f"{str(name)!r} means a run by the protocol tuned, on split 0 with seed 0, of which there are no weights; give {others[0]}.")
        raise FileNotFoundError(f"there are no weights for {str(name)!r}; known: {known}; or give the path of a .safetensors file, or of an .xml that anet export wrote.")
    return path
