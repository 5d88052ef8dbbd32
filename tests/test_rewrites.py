import copy
import os
import sys
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from anet_core import build, deployment, operators, predict, weights
from anet_core.blocks import KINDS
from anet_core.dataset import Samples
from anet_core.registry import ABLATION, READINGS
from anet_core.rewrites import REWRITES, optimise
from anet_core.training import evaluate
from conftest import ROOT
from data_prep import neu, synthetic

sys.path.insert(0, str(ROOT / "workflow"))
from deployment import part_of, steps  # noqa: E402

STEEL = Path(os.environ.get("ANET_DATA", "")) / neu.SOURCE
TRAINED = weights.tuned("neu-inclusion")


def as_if_trained(name):
    """A network whose norms and slopes do something, as after training."""
    torch.manual_seed(0)
    network = build(name)
    with torch.no_grad():
        for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        for _ in range(3):
            network(torch.randn(2, 3, 64, 64))
        for slope in (module.weight for module in network.modules() if isinstance(module, torch.nn.PReLU)):
            slope.uniform_(0.05, 0.5)
    return network.eval()


@cache
def export(rewritten):
    """Of A-Net for 64x64, which takes seconds, so the tests of the roofline take it from here too."""
    network = as_if_trained("A-Net")
    return deployment.to_openvino(optimise(network) if rewritten else network, 64)


@pytest.fixture(scope="module")
def network():
    return as_if_trained("A-Net")


def difference(one, other, size=(96, 160), dtype=torch.float32):
    """The largest of a logit, relative to their spread."""
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2 - 1
    with torch.inference_mode():
        a, b = (copy.deepcopy(network).to(dtype)(image) for network in (one, other))
    assert a.shape == b.shape == (1, 1, *size)
    return float((a - b).abs().max() / a.std())


@pytest.mark.parametrize("name", [*ABLATION, *READINGS, "QuarterNet"])
def test_rewritten_networks_compute_the_same(name):
    """In float64 nothing but rounding is left, so the functions are the same; in float32 there is more rounding."""
    plain = as_if_trained(name)
    rewritten = optimise(plain)
    assert repr(rewritten) != repr(plain)
    assert difference(plain, rewritten, dtype=torch.float64) < 1e-10
    assert difference(plain, rewritten) < 1e-4


def test_each_rewrite_changes_what_it_says(network):
    expected = {
        "pair_first_block": {"detail_extraction.0"},
        "pair_pixels": {"detail_extraction.1", "detail_extraction.2", "detail_fusion.2", "detail_fusion.3"},
        "deconvolve_rows": {"semantic_fusion.0", "semantic_fusion.3", "semantic_fusion.6", "detail_fusion.1", "head"},
        "keep_rows_apart": {"detail_fusion.1", "detail_fusion.2", "detail_fusion.3"},
        "upsample_rows_whole": {"detail_fusion.1"},
        "fill_lanes": {"head"},
        "split_cat": {"cat"},
    }
    assert [rewrite.__name__ for rewrite in REWRITES] == list(expected)
    blocks = {name: repr(module) for name, module in network.named_modules() if isinstance(module, KINDS)}
    for rewrite in REWRITES:
        changed = optimise(network, [rewrite])
        now = dict(changed.named_modules())
        assert {name for name, was in blocks.items() if repr(now[name]) != was} == expected[rewrite.__name__]
        assert difference(network, changed, size=(32, 64), dtype=torch.float64) < 1e-10


def test_the_single_deconvolution_in_place_of_the_seg_head_is_rewritten():
    plain = as_if_trained("A-Net:light+wide+jump")
    assert isinstance(plain.head, torch.nn.ConvTranspose2d)
    assert not [module for module in optimise(plain).modules() if isinstance(module, torch.nn.ConvTranspose2d)]


def test_the_given_network_is_not_changed(network):
    before, state = repr(network), copy.deepcopy(network.state_dict())
    optimise(network)
    assert repr(network) == before
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_other_networks_come_back_as_they_are():
    enet = build("ENet")
    assert optimise(enet) is enet


def test_the_steps_that_are_timed_end_at_what_is_used(network):
    timed = dict(steps(network))  # all of them first, then each is exported
    assert list(timed) == ["plain", *(rewrite.__name__ for rewrite in REWRITES)]
    networks = list(map(repr, timed.values()))
    assert len(set(networks)) == len(networks) and networks[0] == repr(network) and networks[-1] == repr(optimise(network))


def test_masks_of_a_trained_network_are_the_same_to_the_last_pixel():
    trained = weights.load(TRAINED)
    pictures = np.stack([np.asarray(image.convert("RGB")) for _, image, _ in islice(synthetic.samples(), 3)])
    masks = predict(trained, pictures)
    assert 0 < masks.mean() < 1
    assert np.array_equal(predict(optimise(trained), pictures), masks)


def test_openvino_computes_the_same_of_the_rewritten_form(network):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        expected = network(image).numpy()
    assert np.abs(deployment.compile_for_cpu(export(rewritten=True), "f32", threads=1)(image)[0] - expected).max() < 1e-4


@pytest.mark.skipif(not STEEL.is_dir(), reason="the steel pictures are not under ANET_DATA")
def test_iou_on_steel_is_the_same_to_the_last_digit():
    ids, images, masks = zip(*islice(neu.samples("neu-inclusion", STEEL), 6))
    pictures = Samples(ids, ids, np.stack([np.asarray(i.convert("RGB")) for i in images]), np.stack([np.asarray(m) > 0 for m in masks]))
    trained = weights.load(TRAINED)
    assert evaluate(optimise(trained), pictures) == evaluate(trained, pictures)


def eight_bits(convolution):
    """Whether the weights of a convolution are held in eight bits, and a scale."""
    source = convolution.input(1).get_source_output().get_node()
    while source.get_input_size():
        source = source.input(0).get_source_output().get_node()
    return source.get_element_type().size == 1


def test_all_is_quantised_but_for_what_stays_floating():
    """On the row of the ablation with the fewest convolutions, which is quantised soonest."""
    network = optimise(as_if_trained("A-Net:none"))
    exported, start = deployment.to_openvino(network, 64), deployment.start(network)
    images = np.random.default_rng(0).uniform(-1, 1, (4, 3, 64, 64)).astype(np.float32)
    quantised = deployment.quantise(exported, images, start)
    convolutions = [operator for operator in quantised.get_ops() if operator.get_type_name() in operators.CONVOLUTIONS]
    floating = [operator for operator in convolutions if part_of(deployment.place(operator)) in start]
    assert {part_of(deployment.place(operator)) for operator in floating} == set(start)
    assert [eight_bits(operator) for operator in convolutions] == [operator not in floating for operator in convolutions]
    compiled = deployment.compile_for_cpu(quantised, deployment.native_precisions()[-1], threads=1)
    kernels = [operator.get_rt_info()["primitiveType"].astype(str).lower() for operator in compiled.get_runtime_model().get_ops()]
    assert sum(kernel.endswith("i8") for kernel in kernels) > len(convolutions) / 2  # native, not computed in floats again
    logits = [model(images[:1])[0].ravel() for model in (deployment.compile_for_cpu(exported, "f32", threads=1), compiled)]
    assert np.corrcoef(logits)[0, 1] > 0.99  # a wrong scale anywhere would leave no such likeness
