"""One run is one JSON file in results/runs/ (its keys are described in results/README.md)."""

import json
from math import isnan, nan
from pathlib import Path

from data_prep.whole import whole

RESULTS = Path(__file__).resolve().parents[1] / "results"

NUMBER = (int, float)
SCHEMA = {  # key: type of its value; the protocol's own values follow in PROTOCOL_SCHEMA
    "model": str, "dataset": str, "manifest_sha256": str, "split_seed": int, "seed": int, "evaluated_on": str,
    "protocol": str, "iou_pooled": NUMBER, "iou_image_mean": NUMBER, "iou_images": dict, "confusion_images": dict, "group_images": dict,
    "losses": list,
    "parameters": int, "seconds": NUMBER, "processor": str, "threads": int, "bf16": bool,
    "commit": (str, type(None)), "versions": dict,
}
PROTOCOL_SCHEMA = {
    "learning_rate": NUMBER, "warmup_iterations": int, "decay_power": NUMBER, "momentum": NUMBER,
    "weight_decay": NUMBER, "iterations": int, "batch_size": int, "loss_reduction": str,
}


def run_name(model: str, dataset: str, protocol: str, split_seed: int = 0, seed: int = 0) -> str:
    """The file name, without its ending, of a run's record and weights."""
    model = model.replace(":", "-")  # not every file system takes the colon of an ablation row
    return f"{dataset}--{model}--{protocol}--split{split_seed}--seed{seed}"


def name_of(record: dict) -> str:
    """The name of a record's run, see ``run_name``."""
    return run_name(*(record[key] for key in ("model", "dataset", "protocol", "split_seed", "seed")))


def write(record: dict, path: Path) -> None:
    """Write a record whole or not at all: to a temporary name first, keys sorted.

    Raises:
        ValueError: a key is missing, unknown or of another type.
        OSError: see ``whole``.
    """
    check(record, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    losses = [None if isnan(loss) else loss for loss in record["losses"]]  # JSON has no NaN
    with whole(path) as temporary:
        temporary.write_text(json.dumps(record | {"losses": losses}, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read(path: Path) -> dict:
    """A record; ValueError names the file and what is wrong with it."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a run's record ({error}); delete it and run that cell again.") from None
    check(record, path)
    return record | {"losses": [nan if loss is None else loss for loss in record["losses"]]}


def check(record: dict, path: Path) -> None:
    """Raise ValueError unless a record has just the keys of the schema, with values of their types."""
    schema = SCHEMA | PROTOCOL_SCHEMA
    if not isinstance(record, dict):
        raise ValueError(f"{path} is not a run's record but a {type(record).__name__}.")
    if missing := sorted(schema.keys() - record.keys()):
        raise ValueError(f"{path} lacks {', '.join(missing)}; see results/README.md for the schema.")
    if unknown := sorted(record.keys() - schema.keys()):
        raise ValueError(f"{path} has the unknown keys {', '.join(unknown)}; see results/README.md for the schema.")
    for key, kind in schema.items():
        if not isinstance(record[key], kind):
            raise ValueError(f"{path}: {key} is {record[key]!r}, of another type than results/README.md states.")
    if odd := [loss for loss in record["losses"] if loss is not None and not isinstance(loss, NUMBER)]:
        raise ValueError(f"{path}: losses holds {odd[0]!r}, of another type than results/README.md states.")


def read_all(folder: Path = RESULTS / "runs") -> list[dict]:
    """All records of a folder, by file name."""
    return [read(path) for path in sorted(folder.glob("*.json"))]


def diverged(record: dict) -> int | None:
    """The iteration, counted from 1, from which on a run's loss is no number; None where it always is one."""
    losses = record["losses"]
    return next(t for t, loss in enumerate(losses, 1) if isnan(loss)) if losses and isnan(losses[-1]) else None


def converged(record: dict) -> dict:
    """The record of a run that did not diverge; of another, ValueError says what to do."""
    if where := diverged(record):
        raise ValueError(
            f"{name_of(record)} diverged: from iteration {where} on its loss is no number, and it marks nothing; "
            f"train by a protocol whose learning rate is smaller than {record['learning_rate']:g}, or another network."
        )
    return record


def table(records: list[dict]):
    """The records as a DataFrame, one row a run, without the per-image values, the losses and the versions."""
    import pandas as pd

    long = ("iou_images", "confusion_images", "group_images", "losses", "versions")
    return pd.DataFrame([{key: value for key, value in record.items() if key not in long} for record in records])
