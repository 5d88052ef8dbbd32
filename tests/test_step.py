import copy
from dataclasses import replace
from functools import partial

import pytest
import torch

from anet_core import build
from anet_core.dataset import load
from anet_core.protocol import QUICK
from anet_core.run import run
from anet_core.step import GraphedStep, step
from anet_core.training import to_tensors

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@gpu
@pytest.mark.parametrize("model", ["A-Net", "ENet"])
def test_a_graph_is_the_step_kernel_by_kernel(squares, model):
    """The same batches, poses and dropout, and the capture leaves the weights alone: losses equal up to the order of additions."""
    torch.manual_seed(0)
    network = build(model).cuda().train()
    images, masks = to_tensors(load(squares, "train"), "cuda")
    losses = []
    for way in (step, GraphedStep):
        copied = copy.deepcopy(network)
        optimizer = torch.optim.SGD(copied.parameters(), 0.1, 0.9, weight_decay=1e-4, fused=True)
        setting = copied, optimizer, images, masks, QUICK, 0
        take_step = GraphedStep(*setting, False) if way is GraphedStep else partial(step, *setting, bf16=False)
        losses.append([take_step(t) for t in range(6)])
    assert losses[0] == pytest.approx(losses[1], abs=0.01)
    assert losses[0][0] == pytest.approx(losses[1][0], abs=2e-3) and len({round(loss, 4) for loss in losses[0]}) == 6


@gpu
def test_a_run_on_a_gpu_learns_and_resumes(squares, tmp_path):
    protocol = replace(QUICK, name="gpu", iterations=300, decay_power=0.0)
    short = run("A-Net", squares, replace(protocol, iterations=250), results=tmp_path, device="cuda", progress=False, checkpoint=tmp_path / "kept.pt")
    assert short["iou_pooled"] > 50 and (tmp_path / "kept.pt").exists()
    (tmp_path / "runs").rename(tmp_path / "short")
    longer = run("A-Net", squares, protocol, results=tmp_path, device="cuda", progress=False, checkpoint=tmp_path / "kept.pt")
    assert longer["losses"][:250] == short["losses"] and len(longer["losses"]) == 300 and longer["iou_pooled"] > 50
