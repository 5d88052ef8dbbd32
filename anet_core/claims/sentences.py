"""Checks of single sentences: what the network is, how it was trained, what the equations give, what converges."""

from dataclasses import replace
from functools import cache
from importlib import import_module

import numpy as np
import torch
from torch import nn

from anet_core import complexity, structure
from anet_core.blocks import LightBlock
from anet_core.claims.comparisons import CONFIRMED, EXACT, NOT_RUN, REFUTED, UNDECIDED, Finding, absence, names
from anet_core.claims.evidence import C, Evidence, F, M, counted
from anet_core.complexity import flops_conv, flops_dwconv, params_conv, params_dwconv
from anet_core.grid import LIGHT, NEU
from anet_core.paper.cells import DAGM, Claim, cell_of, printed, read, row_name
from anet_core.protocol import PRINTED
from anet_core.registry import build
from anet_core.step import draw_poses, posed

CONVERGED = 1.0  # IoU in percent, at least, of a network that has learnt anything


def same(claim: Claim, ours: float) -> Finding:
    """Exact where ours is the printed number, else refuted."""
    return Finding(EXACT if claim.equals(ours) else REFUTED, float(ours))


def fact(claim: Claim, _: Evidence, function: str, *arguments: str) -> Finding:
    """A function of anet_core.structure, which reads the built network."""
    return same(claim, getattr(structure, function)(*arguments))


def constant(claim: Claim, _: Evidence, module: str, name: str, less: str = "") -> Finding:
    """A constant of the code (of a collection its length), less another."""
    found = getattr(import_module(module), name)
    return same(claim, (found if np.isscalar(found) else len(found)) - (getattr(import_module(module), less) if less else 0))


def setting(claim: Claim, _: Evidence, name: str, dataset: str) -> Finding:
    """A value of the printed protocol, which the runs of that name follow."""
    return same(claim, getattr(PRINTED.for_dataset(dataset), name))


def networks(claim: Claim, _: Evidence, words: str) -> Finding:
    """How many networks are built here."""
    with torch.device("meta"):
        return same(claim, len([build(name) for name in names(words)]))


def rotation(claim: Claim, _: Evidence) -> Finding:
    """The angle between the orientations, flips apart, that augmentation gives a picture."""
    picture = torch.arange(4).view(2, 2)
    return same(claim, 2 * 360 / len({tuple(posed(picture, pose).flatten().tolist()) for pose in draw_poses(300, picture)}))


def stage(claim: Claim, _: Evidence, row: str, way: str, column: str) -> Finding:
    """A cell of Table I against the block that runs there."""
    line = next(line for line in read("table1_stages") if row_name(line) == row)
    way = way if line[way] else "up"
    found = same(claim, structure.stage_value(way, line["stage"], line[way], column))
    if column == "size" and found.verdict == REFUTED:
        return Finding(REFUTED, found.ours, tables=f"halving {structure.SIZE} gives {found.ours:.0f}")
    return found


def stacked(claim: Claim, _: Evidence, part: str) -> Finding:
    """Light and Wide blocks of every stage of detail or semantic extraction, and what as many of them would weigh."""
    stages = {kind: structure.stacked(part, kind) for kind in ("Light", "Wide")}
    size = {"Light": complexity.light_params, "Wide": complexity.wide_params}
    widths = [structure.stage_value("down", stage, "LFEM", "c_out") for stage in structure.PARTS[part]]
    lacking = sum(size[kind](c, c // 4) * (claim.number - n) for kind, counts in stages.items() for n, c in zip(counts, widths))
    fewest, cell = min(map(min, stages.values())), cell_of()["parameters", "A-Net"]
    if lacking and not cell.equals(with_all := counted("parameters", "A-Net") + lacking / 1e6):
        return Finding(REFUTED, fewest, tables=f"with as many in each it has {with_all:.2f} M parameters, not {cell.printed}")
    return same(claim, fewest)


def last_activation(claim: Claim, _: Evidence) -> Finding:
    """PReLUs of a Light block behind its sum, which stays open while a network with none there has the same FLOPs."""
    other = "A-Net:sum-last"
    either_way = {counted("macs/224", name) for name in ("A-Net", other)}
    found = same(claim, sum(isinstance(part, nn.PReLU) for part in LightBlock(C).children()))
    return found if len(either_way) > 1 else Finding(UNDECIDED, found.ours, reason=f"{other}, which has none there, counts the same")


def described_head(claim: Claim, _: Evidence) -> Finding:
    """FLOPs of A-Net, in G, whose seg head has no more than the text says: a deconvolution, a point-wise and a 3x3 convolution."""
    with torch.device("meta"):
        network = build("A-Net")
    body = network.head.body
    kept = [layer for layer in body if not (isinstance(layer, nn.Conv2d) and layer.groups > 1)]
    network.head.body = nn.Sequential(*kept)
    without = complexity.paper_counter(network, structure.SIZE) / 1e9
    found = same(claim, len(body) - len(kept))
    cell = cell_of()["macs/224", "A-Net"]
    return found if cell.equals(without) else Finding(found.verdict, found.ours, tables=f"without a depthwise convolution A-Net has {without:.2f} G FLOPs, not {cell.printed}")


@cache
def anet_by_eq2() -> float:
    """FLOPs of A-Net's convolutions by Eq. 2, at their output size, in G."""
    with torch.device("meta"):
        network = build("A-Net")
    convs = [(m, y) for m, _, y in complexity.calls(network, structure.SIZE) if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    return sum(flops_conv(*m.kernel_size, m.in_channels, m.out_channels, *y.shape[2:], m.groups) for m, y in convs) / 1e9


def equation(claim: Claim, _: Evidence, quantity: str, network: str) -> Finding:
    """A printed figure by the equations that the paper says it is computed with, without bias, norm and activation."""
    around = params_conv(1, 1, C, M) + params_conv(1, 1, M, C)
    pointwise = flops_conv(1, 1, C, M, F, F) + flops_conv(1, 1, M, C, F, F)
    ours = {
        ("kparams", "3x3"): params_conv(3, 3, C, C) / 1e3, ("kparams", "5x5"): params_conv(5, 5, C, C) / 1e3,
        ("kparams", "Light"): (around + params_dwconv(3, 3, M, M)) / 1e3,
        ("kparams", "Wide"): (around + params_conv(5, 1, M, M) + params_conv(1, 5, M, M)) / 1e3,
        ("mflops", "3x3"): flops_conv(3, 3, C, C, F, F) / 1e6, ("mflops", "5x5"): flops_conv(5, 5, C, C, F, F) / 1e6,
        ("mflops", "Light"): (pointwise + flops_dwconv(3, 3, M, M, F, F)) / 1e6,
        ("mflops", "Wide"): (pointwise + flops_conv(5, 1, M, M, F, F) + flops_conv(1, 5, M, M, F, F)) / 1e6,
        ("macs/224", "A-Net"): anet_by_eq2(),
    }[quantity, network]
    found = same(claim, ours)
    return found if found.verdict == EXACT else replace(found, tables=f"by the equation {ours:.4g} {claim.unit}")


def depthwise_parameters(claim: Claim, _: Evidence) -> Finding:
    """Eq. 3 against the depthwise separable convolution of a Light block."""
    ours = complexity.parameters(LightBlock(C).body[3:5])
    return Finding(EXACT if ours == params_dwconv(3, 3, M, M) else REFUTED, ours)


def depthwise_groups(claim: Claim, _: Evidence) -> Finding:
    """The number of groups with which Eq. 2 gives the depthwise term of Eq. 4."""
    term = flops_dwconv(3, 3, M, M, F, F) - flops_conv(1, 1, M, M, F, F)
    ours = flops_conv(3, 3, M, M, F, F) / term
    return replace(same(claim, ours), tables=claim.equals(ours) or f"Eq. 4 follows from Eq. 2 with g = C_in = {ours:.0f}")


def depthwise_flops(claim: Claim, _: Evidence) -> Finding:
    """FLOPs of the Cat block's depthwise separable convolution in A-Net by Eq. 2, in M, against Eq. 4."""
    with torch.device("meta"):
        network = build("A-Net")
    convs = [(m, x, y) for m, x, y in complexity.calls(network, structure.SIZE) if m in set(network.cat.compress)]
    c_in, c_out, kernel, size = convs[0][0].in_channels, convs[1][0].out_channels, convs[0][0].kernel_size, convs[0][2].shape[2:]
    by_parts = sum(flops_conv(*m.kernel_size, m.in_channels, m.out_channels, *size, m.groups) for m, *_ in convs) / 1e6
    by_eq4 = flops_dwconv(*kernel, c_in, c_out, *size) / 1e6
    holds = by_parts == by_eq4
    return Finding(EXACT if holds else REFUTED, by_parts, tables=holds or f"by Eq. 4 {by_eq4:.2f} {claim.unit}: its first term has C_out where C_in belongs")


def reached(evidence: Evidence, dataset: str, networks: tuple[str, ...]) -> dict[str, bool]:
    """Of the networks that were run on a data set, which have learnt anything."""
    learnt = {name: bool(values.iloc[0] >= CONVERGED) for name, values in evidence.estimate(f"iou/{dataset}", networks).items()}
    return learnt | dict.fromkeys(evidence.run(dataset)[1] & set(networks), False)


def diverges(claim: Claim, evidence: Evidence, dataset: str, network: str) -> Finding:
    """A "-" of Table IV."""
    run = reached(evidence, dataset, (network,))
    return Finding(REFUTED if run[network] else CONFIRMED) if run else Finding(NOT_RUN, reason=absence(evidence, dataset, [network]))


def converges(claim: Claim, evidence: Evidence, network: str, expected: bool = True, sets: tuple[str, ...] = DAGM) -> Finding:
    """Whether a network learns on all sets, as expected or not."""
    by_tables = [dataset for dataset in sets if printed(f"iou/{dataset}", network) is not None]
    tables = (len(by_tables) == len(sets)) == expected or f"it converges on {len(by_tables)} of {len(sets)} sets"
    run = [good for dataset in sets for good in reached(evidence, dataset, (network,)).values()]
    if len(run) < len(sets):
        return Finding(NOT_RUN, tables=tables, reason=absence(evidence, "dagm", [network]))
    return Finding(CONFIRMED if all(run) == expected else REFUTED, sum(run), tables=tables)


def unfit(claim: Claim, evidence: Evidence, network: str) -> Finding:
    """Whether a network does not learn on every set of NEU-Seg and DAGM-Seg."""
    return converges(claim, evidence, network, False, (*NEU, *DAGM))


def most_diverge(claim: Claim, evidence: Evidence, dataset: str) -> Finding:
    """Whether more than half of the light networks learn nothing on a data set."""
    lost = sum(printed(f"iou/{dataset}", name) is None for name in LIGHT)
    tables = lost > len(LIGHT) / 2 or f"{lost} of {len(LIGHT)}"
    run = reached(evidence, dataset, LIGHT)
    if len(run) < len(LIGHT):
        return Finding(NOT_RUN, tables=tables, reason=absence(evidence, dataset, [name for name in LIGHT if name not in run]))
    lost = len(run) - sum(run.values())
    return Finding(CONFIRMED if lost > len(LIGHT) / 2 else REFUTED, lost, tables=tables)


def slower_on_windows(claim: Claim, _: Evidence) -> Finding:
    """Each network's printed speeds on the two machines."""
    faster = [name for name in (*LIGHT, "A-Net") if printed("fps/windows", name) >= printed("fps/linux", name)]
    return Finding(NOT_RUN, tables=", ".join(faster) or True, reason="no machine is timed under both systems")


def not_run(claim: Claim, _: Evidence, *reason: str) -> Finding:
    """Nothing of ours answers to it."""
    return Finding(NOT_RUN, reason=" ".join(reason))


CHECKS = {check.__name__: check for check in (
    fact, constant, setting, networks, rotation, stage, stacked, last_activation, described_head, equation, depthwise_parameters, depthwise_groups,
    depthwise_flops, diverges, converges, unfit, most_diverge, slower_on_windows, not_run,
)}
