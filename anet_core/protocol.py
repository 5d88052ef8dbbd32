"""How a network is trained: the settings of Sec. IV.A.2 as data, and the others that were run."""

from dataclasses import asdict, dataclass, replace

from data_prep import dagm


@dataclass(frozen=True)
class Protocol:
    """Stochastic gradient descent on Eq. 6, with random 90-degree rotations and flips.

    The learning rate rises linearly over ``warmup_iterations`` and falls with
    (1 - t / iterations) ** decay_power; 0 and 0 keep it constant.
    """

    name: str
    learning_rate: float
    warmup_iterations: int = 0
    decay_power: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    iterations: int = 2000
    batch_size: int = 16
    loss_reduction: str = "image"

    def learning_rate_at(self, t: int) -> float:
        """Learning rate of iteration t = 0, 1, ..., iterations - 1."""
        warmup = min(1.0, (t + 1) / self.warmup_iterations) if self.warmup_iterations else 1.0
        return self.learning_rate * warmup * (1 - t / self.iterations) ** self.decay_power

    def values(self) -> dict:
        """Its settings without its name, as a record has them."""
        return {key: value for key, value in asdict(self).items() if key != "name"}

    def for_dataset(self, dataset: str) -> "Protocol":
        """The same protocol with the batch size of Sec. IV.A.2 for that data set: 4 on DAGM-Seg, and on what is drawn like it."""
        return replace(self, batch_size=4) if dataset in (*dagm.CLASSES, dagm.SYNTHETIC) else self


PRINTED = Protocol("printed", learning_rate=0.0003)
TUNED = Protocol("tuned", learning_rate=0.1, warmup_iterations=100, decay_power=0.9)
QUICK = Protocol("quick", learning_rate=0.1, warmup_iterations=20, decay_power=0.9, iterations=120, batch_size=8)

PROTOCOLS = {protocol.name: protocol for protocol in (PRINTED, TUNED, QUICK)}


def protocol(name: str) -> Protocol:
    """The protocol of that name; ValueError lists the known ones."""
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; known: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
