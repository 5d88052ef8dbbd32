"""The networks of one of the paper's tables on one data set: our runs beside the printed IoU."""

from collections.abc import Collection

import pandas as pd

from anet_core.audit import count
from anet_core.complexity import parameters, true_macs
from anet_core.paper import printed_iou
from anet_core.records import diverged
from anet_core.statistics import alike, bootstrap, difference, effect_size, hinges, interval, mean, shared


def runs_by_network(records: list[dict], dataset: str, protocol: str, lost: bool = False) -> dict[str, list[dict]]:
    """The runs of each network on the test images of a data set by a protocol, but for those that diverged; or ``lost``, these alone.

    An empty mask says nothing about a network in an order of networks.
    """
    found: dict[str, list[dict]] = {}
    for record in records:
        asked = (dataset, protocol, "test", lost)
        if (record["dataset"], record["protocol"], record["evaluated_on"], diverged(record) is not None) == asked:
            found.setdefault(record["model"], []).append(record)
    return found


def comparable(runs: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """The runs by the splits and seeds that all networks have, because on another split every IoU is another; where they have none in common, each one's own."""
    common = alike(runs)
    return common if all(common.values()) else runs


def trained_on(runs: dict[str, list[dict]]) -> dict[str, list[str]]:
    """The networks that were trained on each "PROCESSOR with torch VERSION"."""
    found: dict[str, dict[str, bool]] = {}
    for name, of_one in runs.items():
        for run in of_one:
            found.setdefault(f"{run['processor']} with torch {run['versions']['torch']}", {})[name] = True
    return {where: list(names) for where, names in sorted(found.items())}


def standings(
    networks: list[str], dataset: str, runs: dict[str, list[dict]], reference: str = "A-Net", lost: Collection[str] = (),
) -> pd.DataFrame:
    """One row a network: its size, the printed IoU, ours with its 95 % interval, and how far it is from a reference.

    ``IoU`` is the mean of the pooled IoU of ``runs`` (``statistics.mean``) in percent, ``of pictures`` that of the mean over pictures; what was not run is missing. The runs are ``comparable`` ones.
    ``minus <reference>`` is in points, paired on the same test images of the runs that both have, and ``effect`` the
    standardised size of that difference (``statistics.effect_size``). ``note`` says "diverged" of the networks that are ``lost``, those of
    which all runs did.
    """
    runs, rows = comparable({name: runs[name] for name in (*networks, reference) if name in runs}), []
    for name in networks:
        row = {"network": name, "parameters (M)": count(parameters, name) / 1e6, "true MACs (G)": count(true_macs, name, 224) / 1e9}
        row |= {"printed": printed_iou(name, dataset), "runs": len(runs.get(name, []))}
        if name in runs:
            row["IoU"] = mean(runs[name])
            row["low"], row["high"] = interval(bootstrap(runs[name]))
            row["of pictures"] = mean(runs[name], "iou_image_mean")
        elif name in lost:
            row["note"] = "diverged"
        if name != reference and name in runs and shared(runs[name], runs.get(reference, []))[0]:
            row[f"minus {reference}"], row["difference low"], row["difference high"] = difference(runs[name], runs[reference])
            row["effect"] = effect_size(runs[name], runs[reference])
        rows.append(row)
    columns = ["parameters (M)", "true MACs (G)", "printed", "runs", "IoU", "low", "high", "of pictures", f"minus {reference}", "difference low", "difference high", "effect", "note"]
    return pd.DataFrame(rows).set_index("network").reindex(columns=columns).astype({"runs": int, "printed": float})


def distances(table: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Points of IoU of each network less the reference: ``printed``, and ``ours`` with its interval ``low`` to ``high``; missing where there is none.

    Args:
        table: of ``standings`` with that reference.
    """
    found = table[[f"minus {reference}", "difference low", "difference high"]].set_axis(["ours", "low", "high"], axis=1)
    return found.assign(printed=table["printed"] - table["printed"][reference]).drop(index=reference)


def verdicts(table: pd.DataFrame) -> dict[str, list[str]]:
    """The networks "ahead" of A-Net, "behind" it, "undecided" (the interval holds 0), "diverged" and "not run"."""
    others = table.drop(index="A-Net")
    ahead, behind = others["difference low"] > 0, others["difference high"] < 0
    known, lost = others["minus A-Net"].notna(), others["note"].notna()
    return {
        name: others.index[rows].tolist()
        for name, rows in (
            ("ahead", ahead), ("behind", behind), ("undecided", known & ~ahead & ~behind), ("diverged", lost), ("not run", ~known & ~lost),
        )
    }


def verdict_lines(table: pd.DataFrame, runs: dict[str, list[dict]]) -> list[str]:
    """A line a verdict for a list in Markdown; behind one ahead or behind, the surfaces without any one of which it is neither.

    Args:
        table: of ``standings`` with A-Net as its reference; runs: see ``runs_by_network``.
    """
    runs = comparable({name: runs[name] for name in table.index if name in runs})

    def named(verdict: str, name: str) -> str:
        one = hinges(runs[name], runs["A-Net"]) if verdict in ("ahead", "behind") else []
        which = f"surface {' or '.join(one)}" if len(one) < 4 else f"any one of {len(one)} surfaces"
        return f"{name} (undecided without {which})" if one else name

    return [f"- {verdict}: {', '.join(named(verdict, name) for name in names) or 'none'}" for verdict, names in verdicts(table).items()]
