"""The networks by the paper's names, and the rows of Table II."""

from collections.abc import Callable

from torch import nn

from anet_core.network import ANet

# Table II, top to bottom: which components a row has.
ABLATION = {
    "A-Net:none": {"light": False, "wide": False, "jump": False, "seg_head": False},
    "A-Net:light": {"light": True, "wide": False, "jump": False, "seg_head": False},
    "A-Net:wide": {"light": False, "wide": True, "jump": False, "seg_head": False},
    "A-Net:light+wide": {"light": True, "wide": True, "jump": False, "seg_head": False},
    "A-Net:light+wide+jump": {"light": True, "wide": True, "jump": True, "seg_head": False},
    "A-Net": {"light": True, "wide": True, "jump": True, "seg_head": True},
}

NETWORKS: dict[str, Callable[[], nn.Module]] = {}
NETWORKS |= {name: lambda components=components: ANet(**components) for name, components in ABLATION.items()}


def names() -> list[str]:
    """The known networks, in the paper's spelling; a row of Table II is "A-Net:" and the components it has."""
    return list(NETWORKS)


def build(name: str) -> nn.Module:
    """A freshly initialised network; seed it with ``torch.manual_seed``. ValueError lists the known names."""
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; known: {', '.join(names())}.")
    return NETWORKS[name]()
