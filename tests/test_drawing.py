from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from anet_core import ANet, build, complexity, figures
from anet_core.blocks import CatBlock, DownBlock, LightBlock, SegHead, UpBlock, WideBlock
from anet_core.dataflow import block_around, blocks, operations, stage_table, stages
from anet_core.drawing import block, canvas, describe, kinds, network
from anet_core.registry import ABLATION
from anet_core.resolution import SCALES, depths, mac_shares, profiles, receptive_field

SIZE = 64


@pytest.fixture(autouse=True)
def without_arithmetic():
    with torch.device("meta"):
        yield


@cache
def graph_of(name):
    return blocks(build(name), (3, SIZE, SIZE))


@cache
def picture_of(name):
    return network(build(name), SIZE)


@cache
def kinds_of(name):
    return kinds(build(name), SIZE)


def texts(axes):
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("name", ABLATION)
def test_shapes_are_those_of_a_forward_pass_with_numbers(name):
    with torch.device("cpu"):
        model, seen = build(name), {}
    for path, module in model.named_modules():
        module.register_forward_hook(lambda _, __, output, path=path: seen.update({path: tuple(output.shape[1:])}))
    model(torch.zeros(2, 3, SIZE, SIZE, device="cpu"))
    shapes = dict(graph_of(name).nodes(data="shape"))
    assert shapes.pop("image") == (3, SIZE, SIZE) and shapes.items() <= seen.items()


@pytest.mark.parametrize("name", ABLATION)
def test_every_parameter_is_drawn_exactly_once(name):
    model = build(name)
    drawn = [part for stage in stages(graph_of(name)) for part in stage]
    assert len(drawn) == len(set(drawn))
    modules = dict(model.named_modules())
    for path, module in modules.items():
        if list(module.parameters(recurse=False)):
            assert block_around(path, modules) in drawn
    table = stage_table(model, SIZE)
    assert table["parameters"].sum() == complexity.parameters(model)
    assert table["true_macs"].sum() == complexity.true_macs(model, SIZE)


@pytest.mark.parametrize("name", ABLATION)
def test_the_crossbar_is_the_jump_connection(name):
    """All blocks in one chain, and across it the jump connection or nothing."""
    graph = graph_of(name)
    order = list(graph)
    across = [(a, b) for a, b in graph.edges if (a, b) not in set(zip(order, order[1:]))]
    assert set(zip(order, order[1:])) <= set(graph.edges)
    assert across == ([("detail_extraction.5", "cat")] if ABLATION[name]["jump"] else [])
    assert sum(ops.count(torch.cat) for _, ops in graph.nodes(data="ops")) == ABLATION[name]["jump"]


@pytest.mark.parametrize("name", ABLATION)
def test_the_crossbar_is_drawn_where_it_is(name):
    assert [text for text in texts(picture_of(name)) if text.startswith("jump")] == ["jump   64×16×16"] * ABLATION[name]["jump"]


@pytest.mark.parametrize("name", ABLATION)
def test_the_crossbar_is_where_a_gradient_goes(name):
    """Another way to see the jump connection: with the semantic path cut, the image reaches the mask only by it."""
    with torch.device("cpu"):
        model, image = build(name).eval(), torch.randn(1, 3, SIZE, SIZE, requires_grad=True)
    model.semantic_extraction.register_forward_hook(lambda _, __, output: output.detach())
    model(image).sum().backward()
    assert (image.grad is not None) == ABLATION[name]["jump"]


def test_the_picture_says_what_the_paper_says_of_the_stages():
    axes = network(ANet())
    assert [text for text in texts(axes) if "×" in text and "jump" not in text] == [
        "3×224×224", "S1   32×112×112", "S2   64×56×56", "S3   128×28×28", "S4   128×14×14", "S5   128×7×7",
        "S4   128×14×14", "S3   128×28×28", "S2   64×56×56", "S1   32×112×112", "1×224×224",
    ]
    assert [text.replace("\n", " ") for text in texts(axes) if text.endswith(("extraction", "fusion"))] == [
        "detail extraction", "semantic extraction", "semantic fusion", "detail fusion"]
    for kind in (DownBlock, LightBlock, WideBlock, UpBlock, CatBlock, SegHead):
        assert texts(axes).count(kind.__name__.removesuffix("Block")) == sum(isinstance(m, kind) for m in ANet().modules())


def test_another_network_is_another_picture():
    class Deeper(ANet):
        def __init__(self):
            super().__init__()
            self.detail_extraction.append(LightBlock(64))

        def forward(self, image):
            detail = self.detail_extraction(image)
            return self.head(self.detail_fusion(self.cat(detail, detail)))

    axes = network(Deeper(), SIZE)
    assert texts(axes).count("Light") == 4 + 1 and "S3   128×8×8" not in texts(axes)  # 4 of the 11 remain


@pytest.mark.parametrize("name", ["A-Net:none", "A-Net"])
def test_text_is_large_enough_and_inside_its_box(name):
    for figure in (picture_of(name).figure, kinds_of(name)):
        figure.canvas.draw()
        for axes in figure.axes:
            boxes = [patch.get_window_extent() for patch in axes.patches]
            for text in axes.texts:
                extent = text.get_window_extent()
                middle = (extent.x0 + extent.x1) / 2, (extent.y0 + extent.y1) / 2
                around = min((box for box in boxes if box.contains(*middle)), key=lambda box: box.width, default=figure.bbox)
                assert text.get_fontsize() >= 8 and around.x0 <= extent.x0 and extent.x1 <= around.x1, text.get_text()


def test_a_block_is_drawn_with_its_kernels_channels_and_residual():
    axes = block(WideBlock(64), (64, 8, 8), axes=canvas(plt.figure().add_subplot()))
    assert texts(axes)[1:7] == [
        "x\n64×8×8", "1×1  64→16\nBN, PReLU", "5×1  16", "1×5  16\nBN, PReLU", "1×1  16→64\nBN, dropout", "add\nPReLU"]
    graph = operations(WideBlock(64), (64, 8, 8))
    assert set(graph.predecessors("add")) == {"x", "body_9"}
    assert describe(UpBlock(128, 16, 64).body[3]) == "2×2 deconv ↑2  16" and describe(SegHead(32).body[-1]) == "3×3  16→1, bias"
    assert describe(DownBlock(32, 16, 64).body[3]) == "2×2 ↓2  16" and describe(LightBlock(64).body[3]) == "3×3 depthwise  16"


def test_blocks_of_the_paper_are_shown_at_64_channels():
    assert [(texts(axes)[0], texts(axes)[-1]) for axes in kinds_of("A-Net").axes] == [
        *((name, "64×16×16") for name in ("Down", "Light", "Wide", "Up", "Cat")), ("SegHead", "1×64×64")]
    assert [texts(axes)[0] for axes in kinds_of("A-Net:none").axes] == ["Down", "Up"]


@pytest.mark.parametrize("name, convolutions, longest, joins", [
    ("UNet", 27, 10 + 4 * 3 + 1, 4), ("PSPNet", 62, 1 + 16 * 3 + 1 + 1 + 3 + 1, 1), ("A-Net", 130, 15 + 44 + 44 + 12 + 2 + 4, 1),
])
def test_shapes_of_fig_2(name, convolutions, longest, joins):
    model = build(name)
    flow = operations(model, (3, SIZE, SIZE))
    ran = {module for module, _, _ in complexity.calls(model, SIZE) if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))}
    assert sum(isinstance(op, (nn.Conv2d, nn.ConvTranspose2d)) for _, op in flow.nodes(data="op")) == len(ran) == convolutions
    assert max(depths(flow).values()) == longest
    assert sum(op is torch.cat for _, op in flow.nodes(data="op")) == joins


def test_how_far_a_pixel_sees():
    """By hand: a kernel of k at stride s adds (k - 1) s pixels, and those that pool look at whole windows."""
    with torch.device("cpu"):
        for body, side in ((LightBlock(8), 3), (WideBlock(8), 5)):
            assert receptive_field(nn.Sequential(nn.Conv2d(3, 8, 1), body, nn.Conv2d(8, 1, 1)), 64) == side
        pooled = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(8, 1, 3, padding=1), nn.Upsample(scale_factor=2))
        assert receptive_field(pooled, 64) == 2 + 2 + 2 * 2
        assert receptive_field(build("A-Net"), 1024) > 2 * 400  # as ``tiling.tiled`` says


def test_a_bar_a_convolution_and_a_bar_a_resolution():
    left, right = profiles({"A-Net": build("A-Net")}, SIZE).axes
    assert len(left.patches) == 130
    assert [bar.get_width() for bar in right.patches] == mac_shares(build("A-Net"), SIZE).tolist()


def test_a_branch_lies_beside_the_other_and_not_behind_it():
    """BiSeNet's spatial path is three convolutions deep, wherever it stands in the code."""
    left, _ = profiles({"BiSeNet": build("BiSeNet")}, SIZE).axes
    middles = [bar.get_bbox().get_points().mean(axis=0).round(6) for bar in left.patches]
    assert min(depth for depth, scale in middles if scale == SCALES.index("1/8")) == 3


@pytest.mark.parametrize("name", ["PSPNet", "TopFormer", "A-Net"])
def test_mac_shares_are_all_of_the_work(name):
    model = build(name)
    shares = mac_shares(model, SIZE)
    assert tuple(shares.index) == SCALES and shares.sum() == pytest.approx(100) and (shares >= 0).all()


def test_mac_shares_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 2, stride=2), nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1))
    work = {"1": 3 * 4 * 9 * 64**2, "1/2": 4 * 8 * 4 * 32**2, "pooled": 8 * 8}
    shares = mac_shares(model, 64)
    assert {scale: share for scale, share in shares.items() if share} == pytest.approx(
        {scale: 100 * macs / sum(work.values()) for scale, macs in work.items()})


def test_drawing_leaves_the_network_alone():
    with torch.device("cpu"):
        model = ANet()
    network(model, SIZE)
    assert model.training and next(model.parameters()).device.type == "cpu" and not any(m._forward_hooks for m in model.modules())


@pytest.fixture(scope="module")
def bubbles():
    """Fifteen networks, the first of them run."""
    rng = np.random.default_rng(0)
    points = pd.DataFrame({
        "true": 10 ** rng.uniform(-1, 2, 15), "iou": rng.uniform(30, 60, 15), "parameters": np.geomspace(0.1, 80, 15), "group": "light",
        "ours": [70] + 14 * [np.nan], "low": [65] + 14 * [np.nan], "high": [72] + 14 * [np.nan],
    }, index=[f"Network {i}" for i in range(15)])
    points["printed"] = 2 * points["true"]
    axes = figures.cost_bubbles(points)
    axes.figure.canvas.draw()
    yield points, axes
    plt.close(axes.figure)


def test_names_of_bubbles_touch_no_other_name_and_no_point(bubbles):
    points, axes = bubbles
    names = [text for text in axes.texts if text.get_text()]  # the others lead to names further away
    assert sorted(text.get_text() for text in names) == sorted(points.index)
    extents = [text.get_window_extent() for text in names]
    assert not any(a.overlaps(b) for i, a in enumerate(extents) for b in extents[:i])
    radii = 0.8 * np.sqrt(15 + 8 * points["parameters"]) / 2 * axes.figure.dpi / 72
    for (x, y), r in zip(axes.transData.transform(points[["true", "iou"]]), radii):
        assert not any(extent.x0 < x + r and x - r < extent.x1 and extent.y0 < y + r and y - r < extent.y1 for extent in extents)


def test_an_iou_of_ours_stands_where_a_network_was_run_and_nowhere_else(bubbles):
    points, axes = bubbles
    [(marks, _, (spread,))] = axes.containers
    assert np.transpose(marks.get_data()).tolist() == [[points["true"].iloc[0], 70]]
    assert spread.get_segments()[0][:, 1].tolist() == [65, 72]
    axes = figures.cost_bubbles(points.assign(ours=np.nan))
    assert not axes.containers and "ours" not in " ".join(text.get_text() for text in axes.figure.legends[0].texts)


def test_what_was_not_run_is_not_drawn():
    run = {"dataset": "bolts", "way": "at random", "iou": 70.25, "low": 60, "high": 80, "printed": 65.5}
    figure = figures.ways(pd.DataFrame([run, run | {"dataset": "nuts", "printed": 40}]), ["at random", "by surface"])
    assert [texts(axes) for axes in figure.axes] == [["70.2", "not run"]] * 2
    assert [axes.get_title().split("\n") for axes in figure.axes] == [
        ["bolts", "dashed: printed, 65.50 %"], ["nuts", "dashed: printed, 40.00 %"]]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["at random", "by surface"]


def test_the_curve_of_a_training_that_diverged_breaks_off():
    """And the others are still seen: a panel ends where losses are high, not where they are without bound."""
    learning, diverging = [1.0, 0.5, 0.25, 0.125], [1.0, 1e9, np.nan, np.nan]
    figure = figures.losses_by_network([{"model": "A-Net", "losses": learning}, {"model": "FCN", "losses": diverging}])
    curve = figure.axes[1].lines[-1].get_ydata()
    assert np.isfinite(curve).tolist() == [True, True, False, False]
    for axes in figure.axes:
        bottom, top = axes.get_ylim()
        assert bottom < min(np.cumsum(learning) / range(1, 5)) and top == figures.HIGHEST
