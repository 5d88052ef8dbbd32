"""The grid: the cells of Tables II, III and IV that are to be run, and of our extension, the most telling first."""

from dataclasses import dataclass
from pathlib import Path

from anet_core.records import run_name
from anet_core.registry import ABLATION, EXTENSIONS, PEERS, READINGS
from data_prep import magnetic_tile, neu
from data_prep.dagm import CLASSES

NEU = tuple(neu.PREFIXES)
VARIANTS = (neu.RANDOM, neu.PROPOSED)  # split at random, which the paper does not exclude; trained on masks that were not drawn by people
TILES = magnetic_tile.NAME  # which the published text adds
LIGHT = ("ENet", "TopFormer", "ESNet", "ERFNet", "BiSeNet", "BiSeNetV2", "STDC")  # Table III's
CLASSICAL = tuple(name for name in PEERS if name not in LIGHT)
REPEATED = ("A-Net", "ENet", "UNet", *EXTENSIONS)  # run again on other splits and by other seeds
REPETITIONS = range(1, 6)


@dataclass(frozen=True)
class Cell:
    """One run: a network on a data set by a protocol, with its split and seed (see ``run.run``)."""

    model: str
    dataset: str
    protocol: str = "tuned"
    split_seed: int = 0
    seed: int = 0

    @property
    def name(self) -> str:
        """The file name of its record, without the ending."""
        return run_name(self.model, self.dataset, self.protocol, self.split_seed, self.seed)

    def record(self, results: Path) -> Path:
        """Where its record is or will be."""
        return results / "runs" / f"{self.name}.json"


GRID = [
    *(Cell("A-Net", dataset) for dataset in NEU),
    *(Cell("A-Net", dataset + variant) for variant in VARIANTS for dataset in NEU),
    *(Cell(model, dataset + neu.RANDOM, "printed") for model in ("A-Net", "ENet") for dataset in NEU),  # the paper's way in all that it prints
    *(Cell(row, dataset) for row in (*ABLATION, *READINGS) if row != "A-Net" for dataset in NEU),
    *(Cell(model, dataset) for models in (LIGHT, CLASSICAL) for model in models for dataset in NEU),
    *(Cell(model, dataset) for model in EXTENSIONS for dataset in NEU),
    *(Cell(model, TILES) for model in ("A-Net", "UNet")),
    *(Cell(model, dataset, split_seed=k) for k in REPETITIONS for model in REPEATED for dataset in NEU),
    *(Cell("A-Net:sum-last", dataset, split_seed=k) for k in REPETITIONS for dataset in NEU),  # which the text's words are nearer to
    *(Cell(model, dataset, seed=k) for k in REPETITIONS for model in REPEATED for dataset in NEU),
    *(Cell(model, dataset) for model in ("A-Net", *LIGHT, *CLASSICAL) for dataset in CLASSES),
]
