"""The networks by name: the paper's (A-Net, the rows of its ablation, the fourteen it is compared with), other readings of its text, and an extension of ours."""

from collections.abc import Callable
from functools import partial

from torch import nn

from anet_core.network import ANet, sum_last
from anet_core.peers.bisenet import BiSeNet
from anet_core.peers.bisenetv2 import BiSeNetV2
from anet_core.peers.deeplabv3plus import DeepLabV3Plus
from anet_core.peers.enet import ENet
from anet_core.peers.erfnet import ERFNet
from anet_core.peers.esnet import ESNet
from anet_core.peers.fcn import FCN
from anet_core.peers.pganet import PGANet
from anet_core.peers.pspnet import PSPNet
from anet_core.peers.refinenet import RefineNet
from anet_core.peers.segnet import SegNet
from anet_core.peers.stdc import STDC
from anet_core.peers.topformer import TopFormer
from anet_core.peers.unet import UNet
from anet_core.quarter import QuarterNet

# Table II, top to bottom: which components a row has.
ABLATION = {
    "A-Net:none": {"light": False, "wide": False, "jump": False, "seg_head": False},
    "A-Net:light": {"light": True, "wide": False, "jump": False, "seg_head": False},
    "A-Net:wide": {"light": False, "wide": True, "jump": False, "seg_head": False},
    "A-Net:light+wide": {"light": True, "wide": True, "jump": False, "seg_head": False},
    "A-Net:light+wide+jump": {"light": True, "wide": True, "jump": True, "seg_head": False},
    "A-Net": {"light": True, "wide": True, "jump": True, "seg_head": True},
}

# What the paper may mean as well, and counts to the same figures: Table II's first row with an activation behind each convolution that
# stands for a block (see ``blocks.plain``), and A-Net with the last PReLU of its Light and Wide blocks before their sum.
READINGS: dict[str, Callable[[], nn.Module]] = {
    "A-Net:none+prelu": partial(ANet, **ABLATION["A-Net:none"], activated=True), "A-Net:sum-last": sum_last,
}

# Table III, top to bottom.
PEERS: dict[str, Callable[[], nn.Module]] = {
    "FCN": FCN, "SegNet": SegNet, "PSPNet": PSPNet, "DeepLabV3+": DeepLabV3Plus, "RefineNet": RefineNet,
    "UNet": UNet, "PGANet": PGANet, "BiSeNet": BiSeNet, "BiSeNetV2": BiSeNetV2, "STDC": STDC, "ERFNet": ERFNet,
    "ESNet": ESNet, "ENet": ENet, "TopFormer": TopFormer,
}

# Not in the paper.
EXTENSIONS: dict[str, Callable[[], nn.Module]] = {"QuarterNet": QuarterNet}

NETWORKS = PEERS | EXTENSIONS | {name: partial(ANet, **components) for name, components in ABLATION.items()} | READINGS


def names() -> list[str]:
    """The known networks, the paper's in its spelling; "A-Net:" is before the components that a row of Table II has, or what another reading changes."""
    return list(NETWORKS)


def build(name: str) -> nn.Module:
    """A freshly initialised network; seed it with ``torch.manual_seed``. ValueError lists the known names."""
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; known: {', '.join(names())}.")
    return NETWORKS[name]()
