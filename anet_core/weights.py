"""Trained weights as safetensors files: no pickle, and inside them the network's name and what pictures it was trained on."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from anet_core.records import RESULTS, run_name
from anet_core.registry import build, names
from data_prep.whole import whole

PICTURES = ("size", "white")  # what is to be known of the pictures that a network was trained on before it is given others


def save(model: nn.Module, name: str, path: Path, pictures: dict | None = None) -> None:
    """Write the weights of network ``name``, whole or not at all, and the same weights as the same bytes.

    Args:
        pictures: of its data set, see ``run.pictures``; of what it holds PICTURES are written.
    """
    from safetensors import torch as safetensors

    about = {key: json.dumps(pictures[key]) for key in PICTURES if pictures and key in pictures}
    data = safetensors.save({key: value.contiguous() for key, value in model.state_dict().items()}, {"model": name, **about})
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        temporary.write_bytes(in_order(data))


def in_order(data: bytes) -> bytes:
    """A safetensors file with the entries of its metadata sorted: the library writes them in another order each time."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    return data[:8] + json.dumps(header, separators=(",", ":")).encode().ljust(end - 8) + data[end:]


def tuned(dataset: str, model: str = "A-Net") -> Path:
    """Where the weights of a network lie that was trained by the protocol ``tuned``, on split 0 with seed 0, if they are kept."""
    return RESULTS / "weights" / f"{run_name(model, dataset, 'tuned')}.safetensors"


def short_name(dataset: str, model: str) -> str:
    """What ``anet --weights`` calls the network that ``tuned`` means; see ``inference.weights_file``."""
    return dataset if model == "A-Net" else f"{dataset}:{model}"


def pictures(path: Path) -> dict:
    """Of the pictures that the network of a weights file was trained on: "size", height and width, and "white", where own ones were made with it.

    Raises:
        FileNotFoundError, ValueError: as ``load`` does of the file.
    """
    with opened(path) as file:
        about = file.metadata() or {}
    return {key: json.loads(about[key]) for key in PICTURES if key in about}


@contextmanager
def opened(path: Path) -> Iterator["safe_open"]:
    """A weights file, to read from."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is no file; train that network first, or give another weights file.")
    if not os.access(path, os.R_OK):  # of which the library says that it does not exist
        raise PermissionError(f"{path} cannot be read; change its permissions, or give another weights file.")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); fetch or train it again.") from None


def load(path: Path) -> nn.Module:
    """The network that a weights file holds, in evaluation mode.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, names no known network, or holds another network's weights or some that are no numbers.
    """
    with opened(path) as file:
        state = {key: file.get_tensor(key) for key in file.keys()}
        name = (file.metadata() or {}).get("model", "")
    if name not in names():
        raise ValueError(f"{path} does not say which network it is of, or names an unknown one ({name!r}); give a file that a run wrote.")
    model = build(name)
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise ValueError(f"{path} holds weights that are no numbers, with which nothing is ever marked; fetch or train it again.")
    try:
        model.load_state_dict(state)
    except RuntimeError:
        raise ValueError(f"{path} says it holds {name}, but its tensors are another network's.") from None
    return model.eval()
