"""Model cards: what to know of trained weights before they are used, made from the record of their run.

    python -m anet_core.cards     writes results/weights/RUN.md beside every RUN.safetensors
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from anet_core import records, subject
from anet_core.statistics import bootstrap_iou_pooled, surfaces
from anet_core.weights import short_name
from data_prep import catalogue, neu
from data_prep.audit import leaked
from data_prep.command_line import exit_code
from data_prep.format import sha256
from data_prep.overlap import read_overlaps
from data_prep.sources import SOURCES, Source
from data_prep.whole import whole

MISSED = 10  # percent of IoU below which a picture's defect was not found


def card(record: dict, weights: Path) -> str:
    """The model card of a run's weights, Markdown.

    Args:
        record: the run's, see ``records.SCHEMA``.
        weights: the file of its weights.
    """
    name = records.name_of(record)
    default = name == records.run_name(record["model"], record["dataset"], "tuned")
    ours = weights.absolute().is_relative_to(records.RESULTS)
    short = short_name(record["dataset"], record["model"])
    called = short if ours and default else weights.absolute().relative_to(records.RESULTS.parent) if ours else weights
    owners = sources(record["dataset"])
    return "\n".join([
        f"# {record['model']} on {record['dataset']}", "",
        f"Marks {subject.defects(record['dataset'])}:", "",
        "```", f"anet predict PICTURES --weights {called} --out FOLDER", "```", "",
        "| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts(record).items()),
        f"| file | {weights.stat().st_size / 1e6:.1f} MB, SHA-256 `{sha256(weights)}` |", "",
        "## Data", "",
        *([origin(source) for source in owners] or [unpublished(record["dataset"])]),
        *split(record), f"- SHA-256 of its manifest: `{record['manifest_sha256']}`", "",
        "## Intended use", "",
        "To mark such defects on pictures that were taken like those it was trained on, to compare networks, and to see what a "
        "network of this size can do before one is trained on pictures of your own. Not to pass or reject a part without a test on "
        "pictures of the line where it is to work." + " Beyond research, ask the owner of the pictures first." * bool(owners), "",
        "## Limits", "",
        *limits(record), "",
    ])


def facts(record: dict) -> dict[str, str]:
    """What was measured, how the network was trained and by what, as the rows of a table."""
    hits, misses, alarms = np.sum(list(record["confusion_images"].values()), axis=0)
    low, high = bootstrap_iou_pooled(record)
    pictures, shown = len(record["iou_images"]), len(set(surfaces(record).values()))
    side = subject.side(record["dataset"])
    sound = f"{100 * alarms / (pictures * side**2 - hits - misses):.2f} %" if side else ""
    settings = ", ".join(f"{key.replace('_', ' ')} {record[key]}" for key in records.PROTOCOL_SCHEMA)
    apart = shown < pictures  # else each picture counts for itself, whatever it shows
    return {
        "IoU, pixels of all test pictures": f"{record['iou_pooled']:.1f} % (95 % interval {low:.1f} to {high:.1f}, over draws of "
                                            f"{'surfaces' if apart else 'pictures'})",
        "IoU, mean over test pictures": f"{record['iou_image_mean']:.1f} %",
        "defect pixels that it marks": f"{100 * hits / (hits + misses):.1f} %",
        "marked pixels that are defect": f"{100 * hits / max(1, hits + alarms):.1f} %",
        **({"sound pixels that it marks": sound} if side else {}),
        "tested on": f"{pictures} pictures" + f" of {shown} surfaces" * apart,
        "network": f"{record['model']}, {record['parameters']:,} parameters",
        "protocol": f"{record['protocol']}: {settings}",
        "split, seed": f"{record['split_seed']}, {record['seed']}",
        "trained on": f"{record['processor']}, {'bf16' if record['bf16'] else 'f32'}, {record['seconds'] / 60:.0f} minutes",
        "commit of the code": f"`{record['commit']}`",
        "versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
    }


def split(record: dict) -> list[str]:
    """How test pictures were kept apart from training pictures, and whose the masks are."""
    dataset, tested = record["dataset"], record["iou_images"]
    if dataset in neu.BY_CHANCE:
        ids = neu.ids(dataset)
        rows = [{"id": key, "split": "test" if key in tested else "train"} for key in ids]
        seen = leaked(rows, read_overlaps(neu.OVERLAPS, ids))
        return [f"- Split at random: {len(seen)} of the {len(tested)} test pictures overlap a training picture."]
    apart = "- Split by surface: pictures known to show one surface are all trained on or all tested on."
    if dataset in catalogue.PROPOSED:
        return [apart, "- Trained on masks that a program proposed from boxes, tested on masks that people drew."]
    return [apart]


def limits(record: dict) -> list[str]:
    """What the IoU does not say, as a list."""
    counts = np.array(list(record["confusion_images"].values()))  # (N, 3): TP, FN, FP
    sound = counts[:, :2].sum(1) == 0
    side = subject.side(record["dataset"])
    missed = sum(iou < MISSED for iou in record["iou_images"].values())
    found = [
        "- One run: another seed or split gives another IoU.",
        f"- On {missed} of the {len(counts)} test pictures its IoU is below {MISSED} %.",
        "- It knows one kind of surface, light and scale"
        + (f": pictures of {side}x{side} pixels, the size of tile that larger ones are cut into." if side else "."),
    ]
    if record["dataset"] in neu.BY_CHANCE:
        found.append("- It was tested on steel that it was trained on, so its IoU does not say what it reaches on other steel.")
    if not sound.any():
        found.append("- Every test picture has a defect: how often it marks a sound surface was not tested.")
    else:
        alarms = (counts[sound, 2] > 0).sum()
        found.append(f"- It marks something on {alarms} of the {sound.sum()} test pictures without a defect.")
    return found


def sources(dataset: str) -> list[Source]:
    """Where the pictures and masks of a data set come from; none where they were drawn, or are one's own."""
    return [source for source in SOURCES.values() if source.folder in catalogue.FOLDERS.get(dataset, ())]


def origin(source: Source) -> str:
    """Where a published data set is from, and on what terms."""
    return f"- {source.folder}, <{source.page}>: {source.citation}.\n  Its licence, as its owner states it: {source.licence}."


def unpublished(dataset: str) -> str:
    """What is known of pictures that were not published."""
    if catalogue.FOLDERS.get(dataset) == ():
        return "- The pictures were drawn by this repository."
    return "- The pictures are not of a published set; who took them knows what they may be used for."


def write(results: Path) -> list[Path]:
    """Write the card of every weights file of a results folder but those of quick runs; their paths.

    Raises:
        FileNotFoundError: there are no such weights, or a file has no record. ValueError: see ``records.read``. OSError: see ``whole``.
    """
    files = [file for file in sorted((results / "weights").glob("*.safetensors")) if "--quick--" not in file.name]
    if not files:
        raise FileNotFoundError(f"{results / 'weights'} holds no weights that get a card; train a network first, or give another --results.")
    written = []
    for weights in files:
        path = results / "runs" / f"{weights.stem}.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing, without which nothing is known of {weights}; bring it or delete them.")
        written.append(weights.with_suffix(".md"))
        text = card(records.read(path), weights)
        with whole(written[-1]) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return written


@exit_code
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m anet_core.cards", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=records.RESULTS, help="folder of runs/ and weights/")
    print(*write(parser.parse_args(arguments).results), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
