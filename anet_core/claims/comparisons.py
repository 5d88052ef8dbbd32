"""Checks of numbers and comparisons, against the paper's own tables and against the evidence.

A check takes the claim, the evidence and its arguments as words: "above iou/neu-patches A-Net light" asks whether A-Net's
IoU on NEU-patches is above that of every light network.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isqrt

import numpy as np
import pandas as pd

from anet_core.audit import rounds_to
from anet_core.builds import counted_build
from anet_core.claims.evidence import BLOCKS, Evidence, F, counted, interval, sets_of
from anet_core.grid import CLASSICAL, LIGHT
from anet_core.paper.cells import Claim, cell_of, printed
from anet_core.subject import published

VERDICTS = (
    "exact", "within tolerance", "order or difference confirmed", "refuted", "not decidable with these runs",
    "the paper contradicts itself", "not comparable, other masks", "not run",
)
EXACT, NEAR, CONFIRMED, REFUTED, UNDECIDED, CONTRADICTS, OTHER_MASKS, NOT_RUN = VERDICTS
TOLERANCE = 0.01  # of a count that misses the last printed digit
COMPETITIVE = 1.0  # points of IoU that a "competitive" network may lack
SEVERAL = 2.0  # at least, in "several times faster"
GROUPS = {"light": LIGHT, "classical": CLASSICAL, "all": (*CLASSICAL, *LIGHT)}  # Table III without A-Net
ABSENT = {"dagm": "no copy of DAGM could be had", "mcsd": "MCSD-seg was never published", "windows": "no machine was timed under Windows",
          "fps": "no timing is recorded"}


@dataclass(frozen=True)
class Finding:
    """A verdict with ours and its interval, see ``evidence.interval``; of a comparison, the lead over the strongest rival.

    ``tables``: True where the paper's own tables bear the claim out, else what they say instead; None for nothing.
    ``effects``: of an order of IoUs, the standardised size of the lead over each rival that was run.
    """

    verdict: str
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    tables: bool | str | None = None
    reason: str = ""
    effects: str = ""


def value(claim: Claim, evidence: Evidence, quantity: str, network: str, protocol: str = "tuned") -> Finding:
    """The number itself."""
    table, cell = printed(published(quantity), network), cell_of().get((published(quantity), network))
    repeated = cell and cell.printed == claim.printed
    tables = None if table is None or repeated else claim.equals(table) or f"{table:.4g} {claim.unit} elsewhere"
    estimate = evidence.estimate(quantity, [network], protocol)
    if network not in estimate:
        return Finding(NOT_RUN, tables=tables, reason=absence(evidence, quantity, [network], protocol))
    ours, low, high = interval(estimate[network])
    if quantity.startswith("iou/neu"):
        splits = evidence.splits(quantity, network, protocol)
        return Finding(OTHER_MASKS, ours, low, high, tables, "one split" if splits == 1 else f"mean over {splits} splits, not to be compared with one of another number")
    if quantity.startswith("iou"):
        return Finding(NEAR if low <= claim.number <= high else REFUTED, ours, low, high, tables)
    if quantity.startswith("fps"):
        return Finding(UNDECIDED, ours, low, high, tables, "on another processor")
    verdict, reasons = agreement(claim, ours, UNDECIDED), []
    if verdict == UNDECIDED and quantity == "mflops":
        side = isqrt(round(claim.number * F**2 / ours))
        verdict = REFUTED
        tables = f"the count of a {side}x{side} output; the text says {F}x{F}"
    elif verdict == UNDECIDED:
        reasons = ["no build is known that counts to it"]
    if claim.note:
        reasons.append(claim.note)
    if build_of := network not in BLOCKS and counted_build(network):
        reasons.append(f"counted build: {build_of}")
    if quantity == "macs/224":
        reasons.append(f"work done: {counted('true/224', network):.3f} G")
    return Finding(verdict, ours, tables=tables, reason="; ".join(reasons))


def agreement(claim: Claim, ours: float, otherwise: str) -> str:
    """The verdict on a count: equal to the last printed digit; cut off there or within TOLERANCE; otherwise."""
    if claim.equals(ours):
        return EXACT
    return NEAR if rounds_to(ours, claim.number) or abs(ours / claim.number - 1) < TOLERANCE else otherwise


def absence(evidence: Evidence, quantity: str, networks: list[str], protocol: str = "tuned") -> str:
    """Why there is nothing of ours."""
    if why := next((why for word, why in ABSENT.items() if word in quantity), None):
        return why
    by = f" by the protocol {protocol}" if protocol != "tuned" else ""
    where: dict[str, list[str]] = {}  # what is said: the data sets that it is said of
    for dataset in sets_of(quantity):
        run, lost = evidence.run(dataset, protocol)
        never = [name for name in networks if name not in run | lost]
        for said in ([f"no run of {listed(never)}"] if never else []) + [f"{name} diverged" for name in networks if name in lost]:
            where.setdefault(said, []).append(dataset)
    if not where:
        return "no split and seed by which all of them were run"
    return "; ".join(f"{said} on {' and '.join(sets)}{by}" for said, sets in where.items())


def listed(networks: list[str]) -> str:
    """Up to three names; of more, two and how many others there are."""
    return ", ".join(networks if len(networks) < 4 else networks[:2]) + (f" and {len(networks) - 2} others" if len(networks) > 3 else "")


def names(words: str, network: str = "") -> list[str]:
    """Networks of "light|A-Net|-ENet": groups and names, less those behind a minus and the given one."""
    parts = words.split("|")
    found = [name for part in parts if not part.startswith("-") for name in GROUPS.get(part, (part,))]
    return [name for name in found if name != network and f"-{name}" not in parts]


def leads(evidence: Evidence, sign: int, quantity: str, network: str, rivals: list[str]) -> tuple[dict[str, tuple], list[str]]:
    """The lead over each rival that was run, on the same pictures, with the intervals of all together; what is missing."""
    found, missing = {}, []
    for rival in rivals:
        estimate = evidence.estimate(quantity, [network, rival])
        if {network, rival} <= set(estimate):
            found[rival] = interval(sign * (estimate[network] - estimate[rival]), len(rivals))
        missing += [name for name in (network, rival) if name not in estimate and name not in missing]
    return found, missing


def order(sign: int, margin: float = 0.0) -> Callable[..., Finding]:
    """The check that a network lies above (sign 1) or below (-1) all rivals, or is no more than a margin behind."""

    def check(claim: Claim, evidence: Evidence, quantity: str, network: str, rivals: str) -> Finding:
        own, rivals = printed(quantity, network), names(rivals, network)
        table = {name: printed(quantity, name) for name in rivals}
        wrong = [f"{name} {v:.4g}" for name, v in table.items() if None not in (own, v) and sign * (own - v) <= -margin]
        tables = None if own is None else f"{', '.join(wrong)} against {own:.4g}" if wrong else True
        by_rival, missing = leads(evidence, sign, quantity, network, rivals)
        verdict, reason = CONFIRMED, ""
        if behind := [name for name, (_, _, high) in by_rival.items() if high <= -margin]:
            verdict, reason = REFUTED, f"not against {', '.join(behind)}"
        elif missing:
            verdict, reason = NOT_RUN, absence(evidence, quantity, missing)
        elif close := [name for name, (_, low, _) in by_rival.items() if low <= -margin]:
            verdict, reason = UNDECIDED, f"open against {', '.join(close)}"
        if quantity == "macs/224":
            work = {name: counted("true/224", name) for name in (network, *rivals)}
            wrong = [f"{name} ({work[name]:.3f} G)" for name in rivals if sign * (work[network] - work[name]) <= 0]
            reason = f"by work done ({work[network]:.3f} G) {'not against ' + ', '.join(wrong) if wrong else 'as well'}"
        if quantity.startswith("fps") and verdict != NOT_RUN:
            reason = "; ".join(filter(None, (reason, "in float32")))
        closest = (None, None, None) if verdict == NOT_RUN else min(by_rival.values())
        effects = {rival: sign * evidence.effect(quantity, network, rival) for rival in by_rival if quantity.startswith("iou")}
        said = ", ".join(f"{effect:+.2f} on {rival}" for rival, effect in effects.items() if not np.isnan(effect))
        return Finding(verdict, *closest, tables, reason, said)

    behind_by = f", or at most {margin:g} behind" if margin else ""
    check.__doc__ = f"The network {'above' if sign > 0 else 'below'} all rivals{behind_by}."
    return check


def balance(claim: Claim, evidence: Evidence, quantity: str, network: str, cost: str) -> Finding:
    """No network that costs less by the paper's own figures has a higher IoU."""
    higher_is_less = -1 if cost.startswith("fps") else 1
    own = printed(cost, network)
    rivals = [name for name in names("all", network) if (of := printed(cost, name)) is not None and higher_is_less * (own - of) > 0]
    found = order(1)(claim, evidence, quantity, network, "|".join(rivals))
    ours = evidence.estimate("true/224" if cost.startswith("macs") else cost, [network, *names("all", network)]).median()
    cheaper = [name for name in ours.index if network in ours and higher_is_less * (ours[network] - ours[name]) > 0]
    by = "by work done" if cost.startswith("macs") else "timed in float32"
    said = f"cheaper as printed: {', '.join(rivals)}; {by}: {', '.join(cheaper) or 'none'}"
    return replace(found, reason="; ".join(filter(None, (found.reason, said))))


def rank(claim: Claim, evidence: Evidence, quantity: str, network: str, among: str) -> Finding:
    """The network's rank, 1 being the highest."""
    rivals = names(among, network)
    tables = 1 + sum((printed(quantity, name) or 0) > printed(quantity, network) for name in rivals)
    by_rival, missing = leads(evidence, 1, quantity, network, rivals)
    if missing:
        return Finding(NOT_RUN, tables=claim.equals(tables) or f"rank {tables}", reason=absence(evidence, quantity, missing))
    ours, best, worst = (1 + sum(lead[i] < 0 for lead in by_rival.values()) for i in (0, 2, 1))
    verdict = REFUTED if not best <= claim.number <= worst else CONFIRMED if best == worst else UNDECIDED
    return Finding(verdict, ours, best, worst, claim.equals(tables) or f"rank {tables}")


def formula(rule: Callable[..., pd.Series], holds: Callable[[Claim, float], bool] | None = None) -> Callable[..., Finding]:
    """The check that a rule of some groups' values gives the printed number, or one for which ``holds``."""

    def check(claim: Claim, evidence: Evidence, quantity: str, *words: str) -> Finding:
        groups = [names(word) for word in words]
        networks = sorted(set().union(*groups))
        table = rule(pd.DataFrame({name: [printed(quantity, name)] for name in networks}, dtype=float), *groups).item()
        tables = None if np.isnan(table) else (holds(claim, table) if holds else claim.equals(table)) or f"{table:.4g}"
        estimate = evidence.estimate(quantity, networks)
        if missing := [name for name in networks if name not in estimate]:
            return Finding(NOT_RUN, tables=tables, reason=absence(evidence, quantity, missing))
        ours, low, high = interval(rule(estimate, *groups))
        if holds:
            verdict = {0: REFUTED, 1: UNDECIDED, 2: CONFIRMED}[holds(claim, low) + holds(claim, high)]
        elif low == high:
            verdict = agreement(claim, ours, REFUTED)
        else:
            verdict = REFUTED if not low <= claim.number <= high else UNDECIDED if low <= 0 <= high else CONFIRMED
        reason = "in float32" if quantity.startswith("fps") else ""
        if quantity == "macs/224":
            work = rule(evidence.estimate("true/224", networks), *groups).item()
            reason = f"of the work done: {work:.4g}" + (f"; where a multiplication and an addition are two: {2 * work:.4g}" if rule is limit else "")
        return Finding(verdict, ours, low, high, tables, reason)

    check.__doc__ = rule.__doc__
    return check


# Each rule takes the values, a column a network, and the groups of networks that the check names.


def gap(values: pd.DataFrame, behind: list[str], ahead: list[str]) -> pd.Series:
    """How far the best of one group lies behind the best of another."""
    return values[ahead].max(axis=1) - values[behind].max(axis=1)


def share(values: pd.DataFrame, one: list[str], other: list[str]) -> pd.Series:
    """One value over another, in percent."""
    return 100 * values[one].max(axis=1) / values[other].max(axis=1)


def reduction(values: pd.DataFrame, one: list[str], other: list[str]) -> pd.Series:
    """By how many percent one value is smaller than another: more than the printed number."""
    return 100 - share(values, one, other)


def limit(values: pd.DataFrame, one: list[str]) -> pd.Series:
    """The value, less than the printed number."""
    return values[one].max(axis=1)


def times(values: pd.DataFrame, one: list[str], others: list[str]) -> pd.Series:
    """One value over the largest of others, at least SEVERAL."""
    return values[one].max(axis=1) / values[others].max(axis=1)


def medians(claim: Claim, evidence: Evidence, quantity: str, *words: str) -> Finding:
    """Median of one group above that of another, networks that did not converge left out; those that were not run may have any IoU from 0 to 100 %."""
    high, low = map(names, words)

    def lead(values: pd.DataFrame) -> pd.Series:
        of_high, of_low = (values.reindex(columns=group).median(axis=1) for group in (high, low))
        return of_high - of_low

    table = lead(pd.DataFrame({name: [printed(quantity, name)] for name in high + low}, dtype=float)).item()
    tables = None if np.isnan(table) else table > 0 or f"{table:.4g}"
    estimate, lost = evidence.estimate(quantity, high + low), set().union(*(evidence.run(dataset)[1] for dataset in sets_of(quantity)))
    unknown = [name for name in high + low if name not in estimate and name not in lost]
    least, most = (
        interval(lead(estimate.assign(**{name: 100.0 * (name in top) for name in unknown}))) if len(estimate) else (np.nan,) * 3
        for top in (low, high)
    )
    wherever = f"wherever {listed(unknown)} would lie" if unknown else ""
    if least[1] > 0:
        return Finding(CONFIRMED, *least, tables, wherever)
    if most[2] <= 0:
        return Finding(REFUTED, *most, tables, wherever)
    return Finding(NOT_RUN, tables=tables, reason=absence(evidence, quantity, unknown)) if unknown else Finding(UNDECIDED, *least, tables)


CHECKS = {
    "value": value, "above": order(1), "below": order(-1), "competitive": order(1, COMPETITIVE), "rank": rank, "balance": balance,
    "gap": formula(gap), "share": formula(share),
    "reduction": formula(reduction, lambda claim, x: x > claim.number),
    "limit": formula(limit, lambda claim, x: x < claim.number),
    "medians": medians, "times": formula(times, lambda _, x: x >= SEVERAL),
}
