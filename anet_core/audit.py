"""Where the printed parameters and FLOPs of Tables II-IV come from: each beside what is counted, and what it counts too much."""

from collections.abc import Callable
from functools import cache
from math import floor, prod

import torch
from torch import nn

from anet_core.builds import printed_build
from anet_core.complexity import calls, conv_macs, paper_counter, paper_macs, parameters, registrations, true_macs
from anet_core.paper import table
from anet_core.registry import build
from anet_core.structure import SIZE


@cache
def count(counter: Callable[..., int], name: str, *size: int, printed: bool = False) -> int:
    """What a counter of ``complexity`` gives for a network, or for its printed build; ValueError for an unknown name.

    Args:
        size: side of the input, where the counter asks for it.
    """
    with torch.device("meta"):  # shapes are enough to count
        network = printed_build(name) if printed else build(name)
    return counter(network, *size)


def excess(name: str) -> dict[str, int]:
    """What the paper's counter adds to the work a network really does, by cause; the sum is printed minus true.

    Returns:
        MACs for each cause, of the printed build at 3x224x224.
    """
    with torch.device("meta"):
        counted = printed_build(name)
    times = registrations(counted)
    twice = transposed = work = 0
    for module, x, y in calls(counted, SIZE):
        twice += paper_macs(module, x, y) * (times[module] - 1)
        work += conv_macs(module, x, y)
        if isinstance(module, nn.ConvTranspose2d):
            transposed += module.weight.numel() * (prod(y.shape[2:]) - prod(x.shape[2:]))
    more = work - count(true_macs, name, SIZE)
    rest = count(paper_counter, name, SIZE, printed=True) - work - twice - transposed
    return {
        "a backbone summed twice": twice, "transposed convolutions counted at output size": transposed,
        "training heads, or layers run at a larger size": more, "norms, activations, pooling, up-sampling and biases": rest,
    }


def reason(name: str) -> str:
    """In one line, why the printed FLOPs of a network at 224 are not the work it does: the causes of a tenth or more."""
    causes = excess(name)
    total = sum(causes.values())
    large = sorted((cause for cause in causes if causes[cause] >= total / 10), key=causes.get, reverse=True)
    return "; ".join(f"{cause} ({100 * causes[cause] / total:.0f} %)" for cause in large)


def audit():
    """Every printed parameter and FLOPs figure of Tables III and IV beside what is counted.

    Returns:
        DataFrame, a row a network and an input size (224, 512): printed and counted parameters in M; printed
        GFLOPs, the paper's counter on the printed build and true MACs of the network in G; printed / true; and
        whether the counted figures give the printed ones to their last digit.
    """
    import pandas as pd

    printed = table("table3_neu").set_index("method").join(table("table4_dagm").set_index("method")["gflops_512"])
    rows = []
    for name, cells in printed.iterrows():
        params_m, clean_params_m = (count(parameters, name, printed=printed) / 1e6 for printed in (True, False))
        for size in (224, 512):
            gflops = cells[f"gflops_{size}"]
            paper_gmacs = count(paper_counter, name, size, printed=True) / 1e9
            true_gmacs = count(true_macs, name, size) / 1e9
            rows.append({
                "network": name, "size": size,
                "printed_params_m": cells["params_m"], "params_m": params_m, "clean_params_m": clean_params_m,
                "printed_gflops": gflops, "paper_gmacs": paper_gmacs, "true_gmacs": true_gmacs,
                "printed_over_true": gflops / true_gmacs,
                "params_match": rounds_to(params_m, cells["params_m"]), "gflops_match": rounds_to(paper_gmacs, gflops),
            })
    return pd.DataFrame(rows)


def rounds_to(counted: float, printed: float) -> bool:
    """Whether a count gives a printed figure of two decimals, rounded or cut off."""
    return printed in (round(counted, 2), floor(100 * counted) / 100)
