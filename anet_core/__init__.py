"""A-Net: the network, its loss, and what a run needs. Importing it, or ``anet_core.run``, needs torch, numpy, pillow and filelock only."""

from anet_core.network import ANet
from anet_core.prediction import predict
from anet_core.registry import build, names

__all__ = ["ANet", "build", "names", "predict"]
