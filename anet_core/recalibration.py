"""What a trained network reaches when its norms are told anew what they see, without a step of training.

    python -m anet_core.recalibration neu-patches-random--A-Net--printed--split0--seed0

A norm keeps running means of what it saw in training, when channels in front of it were dropped; in a test none are, and what it sees varies
less (Li et al., Understanding the Disharmony between Dropout and Batch Normalization by Variance Shift, CVPR 2019). What changes by
telling it anew was not learnt by the network, nor lacked by it. Each run is tested again so, and recorded in results/recalibrated/runs.
"""

import argparse
import sys
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from anet_core import records, weights
from anet_core.dataset import load, manifest_sha256
from anet_core.prediction import normalise
from anet_core.training import evaluate, to_tensors
from data_prep import locate
from data_prep.command_line import exit_code


def recalibrated(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy of a network whose norms have the mean and the variance of what all the images together give them, without dropout.

    Args:
        images: uint8 (N, 3, H, W), as ``training.to_tensors`` gives them; all are computed at once, so that each norm sees what it will when the
            others are told anew.
    """
    network = deepcopy(network).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train().momentum = 1.0  # the running means become those of this one batch
    with torch.inference_mode():
        network(normalise(images))
    return network.eval()


def tested_again(name: str, results: Path) -> dict:
    """The record of a run whose weights are at hand, with the test of its network ``recalibrated`` on the images that it was trained on.

    Raises:
        FileNotFoundError, ValueError: no such record, weights or data set, or a damaged one.
    """
    path = results / "runs" / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give the name of a record in {path.parent}, without its ending.")
    record = records.read(path)
    network, folder = weights.load(results / "weights" / f"{name}.safetensors"), locate(record["dataset"])
    if record["manifest_sha256"] != manifest_sha256(folder):
        raise ValueError(f"{path} was made from other data than {folder} holds; make the data set again, or run it again.")
    train, test = (load(folder, part, record["split_seed"]) for part in ("train", "test"))
    return record | evaluate(recalibrated(network, to_tensors(train)[0]), test)


@exit_code
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m anet_core.recalibration", description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="names of records whose weights are at hand")
    parser.add_argument("--results", type=Path, default=records.RESULTS, help="folder of runs/ and weights/")
    options = parser.parse_args(arguments)
    for name in options.runs:
        record = tested_again(name, options.results)
        records.write(record, options.results / "recalibrated" / "runs" / f"{name}.json")
        print(f"{name}: IoU {record['iou_pooled']:.2f} %", flush=True)


if __name__ == "__main__":
    sys.exit(main())
