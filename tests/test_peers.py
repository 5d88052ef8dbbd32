"""One tester for the fourteen networks, A-Net and what extends them."""

from collections import Counter

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from anet_core import build, complexity, deployment, weights
from anet_core.audit import audit, excess, reason
from anet_core.builds import printed_build
from anet_core.peers import bisenet, stdc, topformer
from anet_core.peers.topformer import average_pool
from anet_core.peers.unpooling import max_positions, max_unpool
from anet_core.registry import EXTENSIONS, PEERS
from anet_core.step import total_loss

from conftest import ROOT

IN_THE_PAPER = [*PEERS, "A-Net"]
NAMES = [*IN_THE_PAPER, *EXTENSIONS]

# Parameters, and true MACs at 224 and 512, of the networks as they would be trained and deployed.
CLEAN = {
    "FCN": (43_420_737, 8_094_793_728, 42_291_167_232),
    "SegNet": (29_443_585, 30_635_458_560, 160_054_640_640),
    "PSPNet": (53_316_868, 38_609_207_296, 200_827_469_824),
    "DeepLabV3+": (59_339_169, 16_946_364_416, 88_533_893_120),
    "RefineNet": (118_004_289, 161_162_903_552, 841_993_945_088),
    "UNet": (31_392_641, 37_700_239_360, 196_964_515_840),
    "PGANet": (51_412_673, 26_783_678_464, 139_930_501_120),
    "BiSeNet": (11_886_218, 2_305_262_594, 12_042_436_610),
    "BiSeNetV2": (3_259_152, 1_891_403_840, 9_881_550_848),
    "STDC": (8_916_768, 1_610_419_712, 8_412_790_784),
    "ERFNet": (2_063_021, 2_531_667_712, 13_226_672_128),
    "ESNet": (1_657_901, 2_287_611_648, 11_951_603_712),
    "ENet": (335_902, 347_606_784, 1_816_068_096),
    "TopFormer": (3_005_905, 197_854_848, 990_400_512),
    "A-Net": (389_768, 326_191_040, 1_704_181_760),
    "QuarterNet": (395_801, 255_342_528, 1_334_034_432),
}


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_exact(name):
    with torch.device("meta"):
        network = build(name)
    counted = complexity.parameters(network), complexity.true_macs(network, 224), complexity.true_macs(network, 512)
    assert counted == CLEAN[name]


@pytest.mark.parametrize("name, expected", [
    ("PSPNet", {2: 5, 4: 2}), ("DeepLabV3+", {2: 1, 4: 1, 8: 1, 6: 1, 12: 1, 18: 1}), ("ENet", {2: 2, 4: 2, 8: 2, 16: 2}),
    ("ERFNet", {2: 4, 4: 4, 8: 4, 16: 4}), ("ESNet", {2: 6, 5: 6, 9: 6}),
])
def test_dilations_are_those_of_the_networks_papers(name, expected):
    """How many convolutions have which: neither a count of parameters nor a shape tells them apart."""
    with torch.device("meta"):
        found = Counter(max(m.dilation) for m in build(name).modules() if isinstance(m, nn.Conv2d) and max(m.dilation) > 1)
    assert found == expected


@pytest.mark.parametrize("size", [(224, 224), (512, 512), (96, 64)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_one_logit_a_pixel(name, size):
    with torch.device("meta"):
        network = build(name).eval()
        assert network(torch.empty(1, 3, *size)).shape == (1, 1, *size)
        for logits in outputs(network.train()(torch.empty(2, 3, *size))):
            assert logits.shape == (2, 1, *size)


@pytest.mark.parametrize("shape, said", [((1, 3, 64, 100), "64x100"), ((1, 1, 64, 64), r"\(1, 1, 64, 64\)")])
@pytest.mark.parametrize("name", NAMES)
def test_other_inputs_are_refused(name, shape, said):
    with torch.device("meta"), pytest.raises(ValueError, match=said):
        build(name)(torch.empty(shape))


def outputs(logits):
    return logits if isinstance(logits, tuple) else (logits,)


# RefineNet's decoder has no norm, and BiSeNet's fusion and ENet's last stages are very narrow.
RATES = {"RefineNet": 1e-4, "BiSeNet": 1e-2, "ENet": 3e-3}


def two_images():
    """Two pictures of 64x96 with a dark square each, and their masks."""
    rng = np.random.default_rng(0)
    mask = torch.zeros(2, 1, 64, 96)
    mask[0, :, 10:40, 20:50] = 1
    mask[1, :, 30:60, 40:80] = 1
    return torch.from_numpy(rng.normal(0, 0.1, (2, 3, 64, 96)).astype(np.float32)) - mask, mask


@pytest.fixture(scope="module", params=NAMES)
def overfitted(request):
    """Name, network after a few steps on two images, its losses, and whether the gradients of the first step were finite."""
    name = request.param
    torch.manual_seed(0)
    network = build(name)
    image, mask = two_images()
    optimizer = torch.optim.Adam(network.parameters(), RATES.get(name, 1e-3))
    losses, finite = [], {}
    while len(losses) < 40 and (not losses or losses[-1] > losses[0] / 2):
        loss = total_loss(network, network(image), mask, "image")
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            finite = {key: p.grad is not None and bool(p.grad.isfinite().all()) for key, p in network.named_parameters()}
        optimizer.step()
        losses.append(loss.item())
    optimizer.zero_grad()  # frees the gradients of the large networks
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = 0.4
    with torch.no_grad():  # the running statistics of the norms catch up with the trained weights
        for _ in range(3):
            network(image)
    return name, network.eval(), losses, finite


def test_every_parameter_receives_a_finite_gradient(overfitted):
    _, _, _, finite = overfitted
    assert [key for key, is_finite in finite.items() if not is_finite] == []


def test_a_few_steps_overfit_two_images(overfitted):
    _, _, losses, _ = overfitted
    assert losses[-1] <= losses[0] / 2


def test_evaluation_is_deterministic_and_weights_round_trip(overfitted, tmp_path):
    name, network, _, _ = overfitted
    image, _ = two_images()
    weights.save(network, name, tmp_path / "w.safetensors")
    with torch.inference_mode():
        first = network(image)
        assert torch.equal(first, network(image))
        assert torch.equal(first, weights.load(tmp_path / "w.safetensors")(image))


def picture_without_near_ties(network, size):
    """A picture on which torch's own float64 and float32 agree.

    Max-unpooling jumps where the two largest values of a window agree to rounding. Where float64 already takes
    another position than float32, another runtime may too, and the difference says nothing about the export.
    """
    for seed in range(10):
        image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():  # not inference mode: parameters converted in it could not be traced afterwards
            logits, exact = network(image), network.double()(image.double())
            network.float()
        if (logits - exact).abs().max() < 2e-5:
            return image, logits.numpy()
    raise AssertionError("float32 and float64 differ on every picture tried")


def test_exports_compute_the_same(overfitted, tmp_path):
    """Float32, 1e-4 on logits; the two runtimes sum in another order than torch."""
    name, network, _, _ = overfitted
    size = 128 if name == "TopFormer" else 64  # at 64 its attention has a single token and computes nothing
    image, expected = picture_without_near_ties(network, size)
    compiled = deployment.compile_for_cpu(deployment.to_openvino(network, size), "f32", threads=2)
    assert np.abs(compiled(image.numpy())[0] - expected).max() < 1e-4
    deployment.to_onnx(network, size, tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    assert np.abs(session.run(None, {"image": image.numpy()})[0] - expected).max() < 1e-4


TIES = {
    "none": torch.randn(2, 5, 8, 12, generator=torch.Generator().manual_seed(0)),
    "zeros of a ReLU": torch.randn(2, 5, 8, 12, generator=torch.Generator().manual_seed(1)).relu(),
    "every kind": torch.cartesian_prod(*4 * [torch.tensor([-1.0, 0.0, 1.0])]).view(81, 1, 2, 2),
}


@pytest.mark.parametrize("ties", TIES)
def test_unpooling_equals_torchs_max_unpool(ties):
    x = TIES[ties]
    pooled, indices = nn.MaxPool2d(2, return_indices=True)(x)
    y = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(2), requires_grad=True)
    expected, ours = nn.MaxUnpool2d(2)(y, indices), max_unpool(y, max_positions(x))
    assert torch.equal(ours, expected)
    weight = torch.randn_like(expected)
    assert torch.equal(*(torch.autograd.grad((out * weight).sum(), y)[0] for out in (ours, expected)))


@pytest.mark.parametrize("size, bins", [((7, 7), (1, 1)), ((28, 28), (4, 4)), ((8, 12), (1, 2)), ((56, 40), (8, 5))])
def test_token_pooling_equals_torchs_adaptive_pooling(size, bins):
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(average_pool(x, *bins), nn.functional.adaptive_avg_pool2d(x, bins), rtol=0, atol=1e-14)


def test_topformers_attention_is_that_of_torch_without_its_scale():
    torch.manual_seed(0)
    layer, x = topformer.Attention(24).eval(), torch.randn(2, 24, 3, 5)
    q, k, v = (part(x).flatten(2).unflatten(1, (6, -1)).transpose(2, 3) for part in (layer.query, layer.key, layer.value))
    mixed = nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)  # (N, heads, T, value)
    expected = layer.project(mixed.transpose(2, 3).reshape(2, 6 * 32, 3, 5))
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("fusion", [bisenet.FeatureFusion(7, 4), stdc.FeatureFusion(7, 4)], ids=["BiSeNet", "STDC"])
def test_what_a_fusion_closes_its_gate_to_is_kept_once_and_what_it_opens_it_to_twice(fusion):
    [mix] = (module for module in fusion.eval().children() if module is not fusion.attention)
    x = [torch.randn(2, channels, 8, 8) for channels in (3, 4)]
    once = mix(torch.cat(x, dim=1))
    for gate, times in ((torch.zeros_like, 1), (torch.ones_like, 2)):
        fusion.attention.forward = gate
        torch.testing.assert_close(fusion(*x), times * once)


# The builds behind the printed figures: parameters, and the paper's counter at 224 and 512.
PRINTED = {
    "FCN": (45_469_737, 16_003_547_392, 83_610_370_048),
    "SegNet": (29_443_585, 30_725_424_128, 160_524_664_832),
    "PSPNet": (53_316_868, 38_709_308_416, 201_350_447_104),
    "DeepLabV3+": (59_339_169, 16_965_585_216, 88_634_310_912),
    "RefineNet": (80_224_259, 161_304_776_192, 842_735_157_248),
    "UNet": (31_392_641, 42_748_797_952, 223_340_658_688),
    "PGANet": (51_412_673, 315_691_370_496, 1_649_325_772_800),
    "BiSeNet": (12_400_754, 4_139_324_741, 21_624_472_325),
    "BiSeNetV2": (3_259_152, 1_906_651_712, 9_961_210_496),
    "STDC": (12_042_016, 2_974_800_192, 15_540_978_624),
    "ERFNet": (2_063_150, 2_818_235_392, 14_723_842_048),
    "ESNet": (1_658_030, 2_581_003_264, 13_484_425_216),
    "ENet": (353_697, 371_691_264, 1_941_897_216),
    "TopFormer": (3_005_905, 241_621_440, 1_220_751_360),
    "A-Net": (389_768, 440_645_632, 2_302_148_608),
}


@pytest.mark.parametrize("name", IN_THE_PAPER)
def test_printed_builds_are_exact(name):
    with torch.device("meta"):
        network = printed_build(name)
    counted = complexity.parameters(network), complexity.paper_counter(network, 224), complexity.paper_counter(network, 512)
    assert counted == PRINTED[name]


def test_topformer_as_it_is_counts_less_than_printed():
    with torch.device("meta"):
        network = build("TopFormer")
    assert [complexity.paper_counter(network, size) for size in (224, 512)] == [208_733_712, 1_046_827_008]


def test_the_audit_explains_every_printed_figure_but_the_known_ones():
    table = audit()
    assert sorted(table["network"].unique()) == sorted(IN_THE_PAPER) and len(table) == 30
    assert set(table.loc[~table["params_match"], "network"]) == {"BiSeNetV2", "ERFNet"}
    assert table.loc[~table["gflops_match"], ["network", "size"]].values.tolist() == [["ERFNet", 512]]


@pytest.mark.parametrize("name", IN_THE_PAPER)
def test_the_causes_add_up_to_the_difference(name):
    causes = excess(name)
    assert sum(causes.values()) == PRINTED[name][1] - CLEAN[name][1] and min(causes.values()) >= 0
    heads_or_larger = causes["training heads, or layers run at a larger size"] > 0
    assert heads_or_larger == (name in ("STDC", "TopFormer"))
    assert (causes["a backbone summed twice"] > 0) == (name in ("FCN", "BiSeNet", "STDC"))
    assert reason(name)


def test_readme_has_a_true_row_for_each_network():
    rows = [line.split(" | ") for line in (ROOT / "anet_core" / "peers" / "README.md").read_text().splitlines() if ".py)" in line]
    stated = {row[0].strip("| "): (row[4], row[5]) for row in rows}
    assert stated == {name: (f"{CLEAN[name][0]:,}", f"{CLEAN[name][1] / 1e9:.3f}") for name in PEERS}
    assert all((ROOT / "anet_core" / "peers" / row[6].split("](")[1].rstrip(") |")).is_file() for row in rows)
