import copy
from dataclasses import replace
from functools import partial

import pytest
import torch

from anet_core import build
from anet_core.dataset import load
from anet_core.protocol import QUICK
from anet_core.run import run
from anet_core.step import GraphedStep, optimizer_of, step
from anet_core.training import to_tensors

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@gpu
@pytest.mark.parametrize("model", ["A-Net", "ENet"])
def test_a_graph_is_the_step_kernel_by_kernel(squares, model):
    """The same batches, poses and dropout, and the capture leaves the weights alone: losses equal up to rounding."""
    torch.manual_seed(0)
    network = build(model).cuda().train()
    images, masks = to_tensors(load(squares, "train"))
    losses = []
    for graph in (False, True):
        copied = copy.deepcopy(network)
        of_all = copied, optimizer_of(copied, QUICK)
        take_step = (
            GraphedStep(*of_all, images, masks, QUICK, 0, False) if graph
            else partial(step, *of_all, images.cuda(), masks.cuda(), QUICK, 0, bf16=False)
        )
        losses.append([take_step(t) for t in range(6)])
    assert losses[0] == pytest.approx(losses[1], abs=0.01)
    assert losses[0][0] == pytest.approx(losses[1][0], abs=2e-3)


@gpu
def test_a_run_on_a_gpu_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(squares, tmp_path):
    protocol = replace(QUICK, name="gpu", iterations=260, decay_power=0.0)
    how = {"device": "cuda", "progress": False}
    whole = run("A-Net", squares, protocol, results=tmp_path / "whole", **how)
    for iterations in (250, 260):
        again = run("A-Net", squares, replace(protocol, name=f"gpu{iterations}", iterations=iterations), results=tmp_path, checkpoint=tmp_path / "kept.pt", **how)
    assert whole["losses"][250:] == pytest.approx(again["losses"][250:], abs=0.05)
    assert whole["losses"][0] > 2 * whole["losses"][-1] and whole["iou_pooled"] > 50
