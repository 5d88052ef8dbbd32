import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from anet_core import build, complexity
from anet_core.blocks import LightBlock, WideBlock
from anet_core.paper import table


@pytest.fixture
def network():
    with torch.device("meta"):  # counts need shapes, not arithmetic
        return build("A-Net")


def test_anet_at_both_sizes(network):
    assert [complexity.paper_counter(network, size) for size in (224, 512)] == [440_645_632, 2_302_148_608]
    assert [complexity.true_macs(network, size) for size in (224, 512)] == [326_191_040, 1_704_181_760]


def test_counts_are_whole_numbers_and_leave_the_network_alone(network):
    assert type(complexity.paper_counter(network, 64)) is int and type(complexity.true_macs(network, 64)) is int
    assert network.training and not any(module._forward_hooks for module in network.modules())


def test_counting_with_real_numbers_gives_the_same(network):
    assert complexity.paper_counter(build("A-Net"), 64) == complexity.paper_counter(network, 64)


@pytest.mark.parametrize("block, params, macs", [(LightBlock, 747, 9_934_848), (WideBlock, 1_251, 16_257_024)])
def test_section_iii_c(block, params, macs):
    module = block(32)
    closed = {
        LightBlock: (complexity.light_params(32, 8), complexity.light_macs(32, 8, 112, 112)),
        WideBlock: (complexity.wide_params(32, 8), complexity.wide_macs(32, 8, 112, 112)),
    }[block]
    counted = sum(complexity.paper_macs(*call) for call in complexity.calls(module, 112, 32))
    assert (complexity.parameters(module), counted) == closed == (params, macs)


def test_closed_forms_give_every_printed_figure_of_iii_c():
    printed = table("section3c_blocks").set_index("block")
    assert complexity.params_conv(3, 3, 32, 32) == 9_216 and printed.loc["3x3", "kparams"] == 9.22
    assert complexity.macs_conv(3, 3, 32, 32, 112, 112) == 115_605_504 and printed.loc["3x3", "mflops"] == 115.61
    assert complexity.macs_conv(5, 5, 32, 32, 110, 110) == 309_760_000 and printed.loc["5x5", "mflops"] == 309.76
    assert complexity.flops_conv(3, 3, 32, 32, 112, 112) == 17 * 32 * 32 * 112**2 != complexity.macs_conv(3, 3, 32, 32, 112, 112)
    assert complexity.flops_dwconv(3, 3, 8, 8, 112, 112) == (17 * 8 + 8 * 8) * 112**2  # Eq. 4 as printed
    assert complexity.params_dwconv(3, 3, 8, 8) == sum(p.numel() for p in LightBlock(32).body[3:5].parameters())


def test_the_closed_forms_of_all_blocks_add_up_to_the_printed_network():
    """Channels of Table I: C_in, C_m and C_out of each Down and Up, C of each Light and Wide."""
    down = [(3, 8, 32), (32, 16, 64), (64, 32, 128), (128, 32, 128), (128, 32, 128)]
    up = [(128, 32, 128), (128, 32, 128), (128, 16, 64), (64, 8, 32)]
    light, wide = [32, 64, *5 * [128], 128, 128, 64, 32], [32, 64, *5 * [128], 128, 128, 64, 32]
    total = sum(complexity.resampling_params(*block) for block in down + up) + complexity.cat_params(64) + complexity.head_params(32)
    assert total + sum(complexity.light_params(c, c // 4) for c in light) + sum(complexity.wide_params(c, c // 4) for c in wide) == 389_768


def test_every_difference_to_fvcore_has_a_named_rule():
    """fvcore counts a transposed convolution at its input size, a norm 2 a value, bilinear 4 a value, and no PReLU,
    pooling or bias; the paper's counter takes the output size, 2, 1, 1, 1 and 1."""
    network = build("A-Net").eval()
    analysis = FlopCountAnalysis(network, torch.zeros(1, 3, 224, 224)).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    fvcore = analysis.by_operator()
    assert fvcore["conv"] == complexity.true_macs(network, 224)

    values = {"prelu": 0, "pool": 0, "bias": 0, "extra": 0}
    for module, x, y in complexity.calls(network, 224):
        if isinstance(module, nn.PReLU):
            values["prelu"] += x.numel()
        if isinstance(module, nn.MaxPool2d):
            values["pool"] += x.numel()
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            values["bias"] += y.numel()
        if isinstance(module, nn.ConvTranspose2d):
            values["extra"] += 3 * module.weight.numel() * x.shape[2] * x.shape[3]  # stride 2: four times the work
    by_rules = fvcore["conv"] + fvcore["batch_norm"] + fvcore["upsample_bilinear2d"] // 4 + sum(values.values())
    assert complexity.paper_counter(network, 224) == by_rules
    assert set(fvcore) == {"conv", "batch_norm", "upsample_bilinear2d"}


def test_layer_table_sums_to_the_totals(network):
    layers = complexity.layer_table(network, (64, 96))
    assert layers["parameters"].sum() == complexity.parameters(network)
    assert layers["paper_macs"].sum() == complexity.paper_counter(network, (64, 96))
    assert layers["true_macs"].sum() == complexity.true_macs(network, (64, 96))
    assert layers["name"].is_unique


def test_a_module_under_two_names_is_counted_twice_by_the_paper_alone():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False))
    once = complexity.paper_counter(network, 32)
    network.again = network[0]
    network.forward = lambda image: network[0](image)
    assert complexity.paper_counter(network, 32) == 2 * once
    assert complexity.true_macs(network, 32) == once
    assert complexity.parameters(network) == 3 * 4 * 9
