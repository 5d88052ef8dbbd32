"""Trained weights as safetensors files: no pickle, and the network's name inside."""

import os
from pathlib import Path

from torch import nn

from anet_core.registry import build


def save(model: nn.Module, name: str, path: Path) -> None:
    """Write the weights of network ``name``, whole or not at all."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, temporary, {"model": name})
    os.replace(temporary, path)


def short_name(dataset: str, model: str) -> str:
    """What ``anet --weights`` calls a network as it was trained by the protocol ``tuned``, on split 0 with seed 0; see ``inference.weights_file``."""
    return dataset if model == "A-Net" else f"{dataset}:{model}"


def load(path: Path) -> nn.Module:
    """The network that a weights file holds, in evaluation mode.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, names no known network, or holds another network's weights.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; train that network first, or give another weights file.")
    try:
        with safe_open(path, framework="pt") as file:
            name = (file.metadata() or {}).get("model", "")
            state = {key: file.get_tensor(key) for key in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); fetch or train it again.") from None
    model = build(name)
    try:
        model.load_state_dict(state)
    except RuntimeError:
        raise ValueError(f"{path} says it holds {name}, but its tensors are another network's.") from None
    return model.eval()
