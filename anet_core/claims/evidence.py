"""What the claims are held against: counts of the networks, recorded runs, timings."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from anet_core import complexity, records, statistics
from anet_core.audit import count
from anet_core.blocks import LightBlock, WideBlock
from anet_core.paper.cells import SETS
from anet_core.standings import runs_by_network
from anet_core.statistics import RESAMPLES, alike, bootstrap, effect_size, mean

MACHINES = "machine"  # what the rows of a speed are
C, M, F = 32, 8, 112  # III.C's example: channels, bottleneck, height and width of the features
BLOCKS = {
    "Light": lambda: LightBlock(C), "Wide": lambda: WideBlock(C),
    **{f"{k}x{k}": lambda k=k: nn.Conv2d(C, C, k, padding=k // 2, bias=False) for k in (3, 5)},
}


def counted(quantity: str, network: str) -> float:
    """A count of a network or block, in the unit in which it is printed.

    Args:
        quantity: "parameters" (M) and "macs/224" by the paper's counter (G) of the build that the paper counted, "true/224" for the
            work done (G); of a block of III.C "kparams" or "mflops".

    Raises:
        ValueError: another quantity, or an unknown network.
    """
    kind, _, size = quantity.partition("/")
    if kind == "parameters":
        return count(complexity.parameters, network, printed=True) / 1e6
    if kind == "macs":
        return count(complexity.paper_counter, network, int(size), printed=True) / 1e9
    if kind == "true":
        return count(complexity.true_macs, network, int(size)) / 1e9
    if kind not in ("kparams", "mflops"):
        raise ValueError(f"unknown quantity {quantity!r}.")
    with torch.device("meta"):
        block = BLOCKS[network]()
    if kind == "kparams":
        return complexity.parameters(block) / 1e3
    return sum(complexity.paper_macs(*call) for call in complexity.calls(block, F, C)) / 1e6


class Evidence:
    """The runs on test images and the timings of a results folder."""

    def __init__(self, results: Path) -> None:
        self.records = records.read_all(results / "runs")
        machines = [pictures_a_second(path) for path in sorted((results / "timing").glob("*.csv"))]
        self.speeds = {"fps/linux": pd.DataFrame(machines).rename_axis(MACHINES)}  # none was timed under Windows

    def estimate(self, quantity: str, networks: Iterable[str], protocol: str = "tuned") -> pd.DataFrame:
        """A column for each network that was run or counted: what ``interval`` takes.

        Of an IoU ours in row 0, below it draws of runs and surfaces, the same for all networks; of a speed, a row a machine; of a
        count, one row.

        Args:
            quantity: as in ``counted``, or "iou/DATASET", "iou/neu" (mean of three sets), "fps/windows", "fps/linux".
        """
        kind = quantity.partition("/")[0]
        if kind == "iou":
            sets = sets_of(quantity)
            return (sum(self.ious(dataset, networks, protocol) for dataset in sets) / len(sets)).dropna(axis=1)
        if kind == "fps":
            speeds = self.speeds.get(quantity, pd.DataFrame())
            return speeds[[name for name in networks if name in speeds]].dropna(axis=1)
        return pd.DataFrame({name: [counted(quantity, name)] for name in networks})

    def ious(self, dataset: str, networks: Iterable[str], protocol: str) -> pd.DataFrame:
        """Pooled IoU in percent on one data set: the mean (``statistics.mean``) of the runs that all networks have that were run, then its draws.

        Where they have none in common, those without a run by the data set's own split and seed 0 are left out.

        Raises:
            ValueError: they were not tested on the same images.
        """
        by_network = runs_by_network(self.records, dataset, protocol)
        found = {name: by_network[name] for name in networks if name in by_network}
        if not all((runs := alike(found)).values()):
            runs = alike({name: of_one for name, of_one in found.items() if any(run["split_seed"] == run["seed"] == 0 for run in of_one)})
        for of_one_split in zip(*runs.values()):
            if len({tuple(sorted(run["confusion_images"])) for run in of_one_split}) > 1:
                raise ValueError(f"{', '.join(runs)} were not tested on the same images of {dataset}; run them again.")
        ours = {name: [mean(of_one), *bootstrap(of_one)] for name, of_one in runs.items()}
        return pd.DataFrame(ours, index=range(RESAMPLES + 1))

    def splits(self, quantity: str, network: str, protocol: str) -> int:
        """By how many splits a network was run, on the set of an IoU where they are fewest."""
        of_each = (runs_by_network(self.records, dataset, protocol)[network] for dataset in sets_of(quantity))
        return min(len({run["split_seed"] for run in runs}) for runs in of_each)

    def run(self, dataset: str, protocol: str = "tuned") -> tuple[set[str], set[str]]:
        """The networks that have a run that did not diverge, and those of which all runs did."""
        kept, lost = (set(runs_by_network(self.records, dataset, protocol, lost)) for lost in (False, True))
        return kept, lost - kept

    def effect(self, quantity: str, network: str, rival: str) -> float:
        """Standardised size of a network's lead over another in IoU, the mean over the sets; see ``statistics.effect_size``."""
        of_each = (runs_by_network(self.records, dataset, "tuned") for dataset in sets_of(quantity))
        return float(np.mean([effect_size(runs[network], runs[rival]) for runs in of_each]))


def sets_of(quantity: str) -> tuple[str, ...]:
    """The data sets of an IoU."""
    return SETS.get(quantity, (quantity.removeprefix("iou/"),))


def pictures_a_second(path: Path) -> pd.Series:
    """Each network's speed from a timing's CSV: OpenVINO in float32 on all threads, the nearest to Fig. 7."""
    table = pd.read_csv(path)
    if missing := {"runtime", "network", "precision", "threads", "fps"} - set(table):
        raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}; time the networks again.")
    table = table.query("runtime == 'OpenVINO' and precision == 'f32'")
    return table[table["threads"] == table["threads"].max()].set_index("network")["fps"].rename(path.stem)


def interval(values: pd.Series, comparisons: int = 1) -> tuple[float, float, float]:
    """Row 0, and the 95 % interval of the rows below: of several comparisons, that of all of them together (Bonferroni).

    Of machines, which are few, the median, the least and the greatest.
    """
    if values.index.name == MACHINES:
        return float(values.median()), float(values.min()), float(values.max())
    ours, *others = values
    return float(ours), *(statistics.interval(others, comparisons) if others else (float(ours),) * 2)
