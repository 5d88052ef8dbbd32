import json
import subprocess
import sys

import pytest
import torch

from anet_core import ANet, build, complexity, names
from anet_core.blocks import LightBlock, WideBlock

# Table II as the paper's counter gives it: parameters and MACs at 224 (the paper prints two decimals).
TABLE_II = {
    "A-Net:none": (4_407_763, 3.12254),
    "A-Net:light": (3_358_340, 2.38601),
    "A-Net:wide": (1_427_316, 1.01937),
    "A-Net:light+wide": (377_893, 0.28284),
    "A-Net:light+wide+jump": (387_237, 0.31214),
    "A-Net": (389_768, 0.44065),
}


@pytest.mark.parametrize("name", TABLE_II)
def test_rows_of_table_ii_are_exact(name):
    parameters, gmacs = TABLE_II[name]
    with torch.device("meta"):
        network = build(name)
    assert complexity.parameters(network) == parameters
    assert round(complexity.paper_counter(network, 224) / 1e9, 5) == gmacs


def test_an_activation_in_the_place_of_the_bias_counts_to_the_same_printed_digits():
    with torch.device("meta"):
        network = build("A-Net:none+prelu")
    parameters, gmacs = TABLE_II["A-Net:none"]
    assert f"{complexity.parameters(network) / 1e6:.2f}" == f"{parameters / 1e6:.2f}"
    assert round(complexity.paper_counter(network, 224) / 1e9, 5) == gmacs


@pytest.mark.parametrize("name, linear", [("A-Net:none", True), ("A-Net:none+prelu", False)])
def test_without_an_activation_the_blocks_of_a_stage_are_one_linear_map(name, linear):
    stage, x = build(name).semantic_extraction[-4:], torch.randn(2, 128, 16, 16)
    zero = stage(torch.zeros(1, 128, 16, 16))
    assert torch.allclose(stage(x[:1] + x[1:]) + zero, stage(x[:1]) + stage(x[1:]), atol=1e-5) == linear


def test_by_the_other_reading_the_last_activation_comes_before_the_sum():
    networks = {}
    for name in ("A-Net", "A-Net:sum-last"):
        torch.manual_seed(0)
        networks[name] = build(name)
    states = [network.state_dict() for network in networks.values()]
    assert states[0].keys() == states[1].keys() and all(states[0][key].equal(states[1][key]) for key in states[0])
    assert len({complexity.paper_counter(network, 224) for network in networks.values()}) == 1
    x = torch.randn(1, 64, 8, 8)
    for name, network in networks.items():
        for block in network.detail_extraction[4:]:  # Light and Wide
            torch.nn.init.zeros_(block.activation.weight)  # PReLU becomes ReLU
            assert (block(x) >= (x if name == "A-Net:sum-last" else 0)).all()


@pytest.mark.parametrize("size", [(32, 32), (64, 96)])
@pytest.mark.parametrize("name", [*TABLE_II, "A-Net:none+prelu", "A-Net:sum-last"])
def test_one_logit_a_pixel_and_a_gradient_everywhere(name, size):
    network = build(name)
    logits = network(torch.randn(2, 3, *size))
    assert logits.shape == (2, 1, *size)
    logits.square().mean().backward()
    for parameter, value in network.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all(), parameter


@pytest.mark.parametrize("shape, said", [
    ((1, 3, 200, 224), "200x224"), ((1, 3, 224, 100), "224x100"), ((1, 1, 64, 64), "(1, 1, 64, 64)"), ((3, 64, 64), "(3, 64, 64)"),
    ((1, 3, 0, 32), "0x32"),
])
def test_other_inputs_are_refused_by_their_size(shape, said):
    with pytest.raises(ValueError) as error:
        ANet()(torch.zeros(shape))
    assert said in str(error.value)


def test_quarternet_works_at_a_quarter_of_the_pictures_size_and_below_and_is_a_net_in_between():
    network, sides = build("QuarterNet").eval(), []
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Upsample)):
            module.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[2]))
    network(torch.zeros(1, 3, 64, 64))
    assert max(sides) == 16
    between = [{key: value.shape for key, value in one.state_dict().items() if key.startswith(("semantic", "cat"))} for one in (network, ANet())]
    assert between[0] == between[1]


def test_receptive_fields_of_the_blocks():
    """III.C: 3x3 for Light, 5x5 for Wide, seen as the pixels that reach the middle of the output."""
    for block, width in ((LightBlock(16), 3), (WideBlock(16), 5)):
        image = torch.randn(1, 16, 15, 15, requires_grad=True)
        block.eval()(image)[0, :, 7, 7].sum().backward()
        reached = image.grad.abs().sum((0, 1)) > 0
        rows, columns = reached.nonzero(as_tuple=True)
        assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (width, width)


def test_unknown_network_lists_the_known_ones():
    with pytest.raises(ValueError) as error:
        build("B-Net")
    assert "B-Net" in str(error.value) and all(name in str(error.value) for name in names())


def test_importing_what_trains_needs_torch_numpy_pillow_and_filelock_only():
    code = (
        "import json, sys, torch, numpy.random, PIL.Image; given = set(sys.modules); import anet_core.run\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules.keys() - given} - sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) - {"torch", "numpy", "PIL"} == {"anet_core", "data_prep", "filelock"}
