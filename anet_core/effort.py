"""How long cells of the grid will take on this processor, by the records that were made on it."""

from functools import cache
from pathlib import Path
from statistics import median

import torch

from anet_core import records
from anet_core.complexity import true_macs
from anet_core.faults import fault
from anet_core.grid import GRID, Cell
from anet_core.protocol import protocol
from anet_core.registry import build
from anet_core.run import processor
from anet_core.subject import side


def seconds_a_pixel(results: Path, device: str) -> dict[str, float]:
    """Training time of each network for a pixel, by the grid's records made on this processor: their median."""
    found: dict[str, list[float]] = {}
    for cell in GRID:
        path = cell.record(results)
        if not path.exists() or fault(path) or records.diverged(record := records.read(path)):  # one that diverged ended early
            continue
        if record["processor"] == processor(device):
            seen = record["iterations"] * record["batch_size"] * pixels(cell.dataset)
            found.setdefault(cell.model, []).append(record["seconds"] / seen)
    return {model: median(seconds) for model, seconds in found.items()}


def seconds_needed(cells: list[Cell], results: Path, device: str) -> tuple[float, set[str]] | None:
    """Estimate of the time that cells need on this processor, and the networks whose part in it is a guess.

    A network without a record is guessed from those that have one, in proportion to ``effort``: good to a factor of a
    few. None without any record made on this processor.
    """
    known = seconds_a_pixel(results, device)
    if not known:
        return None
    rate = median(seconds / effort(model) for model, seconds in known.items())
    total = 0.0
    for cell in cells:
        settings = protocol(cell.protocol).for_dataset(cell.dataset)
        seen = settings.iterations * settings.batch_size * pixels(cell.dataset)
        total += known.get(cell.model, rate * effort(cell.model)) * seen
    return total, {cell.model for cell in cells} - known.keys()


def pixels(dataset: str) -> int:
    """Of one picture of a data set; one that is not a published set counts as NEU."""
    return (side(dataset) or side("neu-inclusion")) ** 2


def effort(model: str) -> int:
    """What the time of a network is taken to be proportional to: true MACs, and what passes by without multiplying.

    The second part is set to nine times A-Net's MACs for every network, by which seven times its MACs take 1.6 times its time; ESNet,
    which does so many, takes 1.3 to 1.5 times it in eager torch on one thread.
    """
    return macs(model) + 9 * macs("A-Net")


@cache
def macs(model: str) -> int:
    """True MACs of a network on a small picture, for comparing one network with another."""
    with torch.device("meta"):
        return true_macs(build(model), 64)
