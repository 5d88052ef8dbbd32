"""How near A-Net is to the limits of this machine, and what its rewrites and precisions gain and cost.

    python workflow/deployment.py                            every table; on a machine that does nothing else
    python workflow/deployment.py --quick                    a first look, kept apart from what is measured
    python workflow/deployment.py --only rewrites throughput

The models take the picture itself. Writes results/deployment/MACHINE--TABLE.csv. The tables precisions and parts need the pictures of NEU.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
import openvino as ov
import pandas as pd
from torch import nn

from anet_core import build, deployment, measurements, native, operators, roofline, statistics, timing, weights
from anet_core.command import CALIBRATION
from anet_core.dataset import Samples, load
from anet_core.grid import LIGHT, NEU
from anet_core.inference import to_input
from anet_core.metrics import confusion, iou_pooled
from anet_core.prediction import HALF
from anet_core.rewrites import REWRITES, optimise
from anet_core.run import hold_back
from anet_core.structure import SIZE
from data_prep import locate, synthetic
from data_prep.command_line import exit_code
from fig7 import IN_CPP, REWRITABLE, REWRITTEN, trained

THREADS = sorted({1, timing.cores()})
OTHER_READING = "A-Net:sum-last"  # of the sentence of III.C.2 on PReLU
AS_CPP = ", in C++"  # behind the name of a network
BATCH = 100  # pictures that a round of the throughput sends through


def peaks(iterations: int) -> pd.DataFrame:
    """What the machine attains; see ``roofline.limits``."""
    return pd.concat([roofline.limits(threads, iterations // 10) for threads in THREADS])


def profiles(iterations: int) -> pd.DataFrame:
    """Every operator of A-Net and of its rewritten form, in each floating precision, on all threads."""
    network = trained("neu-inclusion")
    exported = {name: export(model) for name, model in (("plain", network), ("rewritten", optimise(network)))}
    table = operators.profile(exported, deployment.native_precisions(), max(THREADS), picture(), iterations)
    return table.assign(threads=max(THREADS))


def rewrites(iterations: int) -> pd.DataFrame:
    """Latency of A-Net with one rewrite more each, of the other rewritten ones, its other reading among them, of those in C++, and of ENet, which takes as long untrained."""
    image = picture()
    others = {name + REWRITTEN: optimise(trained("neu-inclusion", name)) for name in (*REWRITABLE, OTHER_READING) if name != "A-Net"}
    others["ENet"] = build("ENet").eval()
    networks = dict(steps(trained("neu-inclusion"))) | others
    exported = {name: export(network) for name, network in networks.items()}
    tables = []
    for threads in THREADS:
        requests = {
            (name, precision): request(model, precision, threads, image)
            for name, model in exported.items() for precision in deployment.native_precisions()
        } | {
            (name + AS_CPP, precision): native.Compiled(trained("neu-inclusion", name), image, precision, threads)
            for name in IN_CPP for precision in native.precisions()
        }
        table = compared(requests, iterations, ("plain", "f32")).rename_axis(["network", "precision"])
        expected = logits(requests["plain", "f32"])
        same = {*networks, "A-Net" + AS_CPP} - set(others)
        table["logit_difference"] = [np.abs(logits(r) - expected).max() if name in same else np.nan for (name, _), r in requests.items()]
        tables.append(table.reset_index().assign(threads=threads))
    return pd.concat(tables)


def steps(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The network as it is, "plain", and after each rewrite, by its name, with those before it."""
    yield "plain", network
    for i, rewrite in enumerate(REWRITES, 1):
        yield rewrite.__name__, optimise(network, REWRITES[:i])


def precisions(iterations: int) -> pd.DataFrame:
    """IoU on the test pictures and latency of each precision, on all threads, of the rewritten and the light networks whose weights are here."""
    tables = []
    for dataset in NEU:
        calibration, _, test = samples(dataset, iterations)
        image = test.images[:1].copy()
        requests = {("A-Net", "f32"): request(export(trained(dataset)), "f32", max(THREADS), image)}
        for name in (*REWRITABLE, *LIGHT):
            if not weights.tuned(dataset, name).is_file():
                continue
            network = optimise(trained(dataset, name))
            exported = deployment.to_openvino(network, SIZE)
            variants = {precision: (deployment.from_picture(exported), precision) for precision in deployment.native_precisions()}
            start = deployment.start(network)
            for precision, floating in ({"int8": (), "int8 but for the start": start} if start else {"int8": ()}).items():
                quantised = deployment.from_picture(deployment.quantise(exported, calibration, floating))
                variants[precision] = quantised, deployment.fastest(quantised, max(THREADS), image)
            label = name if name in LIGHT else name + REWRITTEN
            requests |= {(label, precision): request(*of_one, max(THREADS), image) for precision, of_one in variants.items()}
            if name in IN_CPP:
                requests |= {
                    (name + AS_CPP, precision): native.Compiled(trained(dataset, name), image, precision, max(THREADS)) for precision in native.precisions()
                }
        records = {key: record(dataset, r, image, test) for key, r in requests.items()}
        ious = [compared_ious(records, key, (key[0], "f32")) for key in records]
        table = compared(requests, iterations, ("A-Net", "f32")).rename_axis(["network", "precision"]).reset_index()
        tables.append(table.join(pd.DataFrame(ious)).assign(dataset=dataset, threads=max(THREADS), pictures=len(test.ids)))
    return pd.concat(tables)


def parts(iterations: int) -> pd.DataFrame:
    """IoU with one part of A-Net alone in int8, the rest in f32, and of A-Net, QuarterNet and ENet but for their starts.

    On training pictures that the ranges were not taken from: what stays floating is chosen by this table, and the test pictures
    choose nothing. The networks were trained on these pictures.
    """
    dataset = NEU[0]  # on the others int8 costs nothing, see the table of precisions
    calibration, held, _ = samples(dataset, iterations)
    image, tables = held.images[:1].copy(), []
    for name in ("A-Net", "QuarterNet", "ENet"):
        network = optimise(trained(dataset, name))
        exported = deployment.to_openvino(network, SIZE)
        floating = {"everything": (), "everything but the start": deployment.start(network)}
        if name == "A-Net":
            places = set(map(deployment.place, exported.get_ops())) - {""}
            floating |= {part: sorted(place for place in places if part_of(place) != part) for part in sorted(set(map(part_of, places)))}
        records = {"nothing": record(dataset, request(deployment.from_picture(exported), "f32", max(THREADS), image), image, held)}
        for part, kept in floating.items():
            quantised = deployment.from_picture(deployment.quantise(exported, calibration, kept))
            records[part] = record(dataset, request(quantised, "f32", max(THREADS), image), image, held)
        table = pd.DataFrame([{"part": part} | compared_ious(records, part, "nothing") for part in records])
        tables.append(table.assign(network=name, dataset=dataset, pictures=len(held.ids)))
    return pd.concat(tables)


def part_of(place: str) -> str:
    """The stage of a module; in S1, whose blocks differ most in int8, the block."""
    stage = operators.stage(place)
    return ".".join(place.split(".")[:2]) if stage == "S1" else stage


def throughput(iterations: int) -> pd.DataFrame:
    """Pictures a second where several are worked on at once, a stream each, against one stream of the plain network in f32."""
    network, image = trained("neu-inclusion"), picture()
    quarter, functions = "QuarterNet", {}
    models = {
        "plain": network, "rewritten": optimise(network),
        quarter + REWRITTEN: optimise(trained("neu-inclusion", quarter)),
    }
    for name, model in models.items():
        exported = export(model)
        for precision in deployment.native_precisions():
            for streams in range(1, max(THREADS) + 1):
                compiled = deployment.compile_for_cpu(
                    exported, precision, max(THREADS), PERFORMANCE_HINT="THROUGHPUT", NUM_STREAMS=streams
                )
                functions[name, precision, streams] = partial(send, ov.AsyncInferQueue(compiled, streams), image)
    milliseconds = timing.latencies(functions, max(2, iterations // BATCH), warmup=1)
    rates = (1000 * BATCH / milliseconds).quantile([0.5, 0.05, 0.95]).T.set_axis(["median_fps", "p5_fps", "p95_fps"], axis=1)
    table = rates.join(timing.ratios(milliseconds, ("plain", "f32", 1))).assign(threads=max(THREADS))
    return table.rename_axis(["network", "precision", "streams"]).reset_index()


def send(queue: ov.AsyncInferQueue, image: np.ndarray) -> None:
    """A batch of one picture again and again through a queue."""
    for _ in range(BATCH):
        queue.start_async({0: image}, share_inputs=True)
    queue.wait_all()


def scaling(iterations: int) -> pd.DataFrame:
    """Latency from a picture in memory, uint8, to its logits, by what scales its values: torch, NumPy or the model; on all threads."""
    network, image, functions = trained("neu-inclusion"), picture(), {}
    for name, model in (("plain", network), ("rewritten", optimise(network))):
        exported = deployment.to_openvino(model, SIZE)
        for precision in deployment.native_precisions():
            scaled, whole = (
                deployment.compile_for_cpu(one, precision, max(THREADS)) for one in (exported, deployment.from_picture(exported))
            )
            functions[name, precision, "torch"] = lambda scaled=scaled: scaled(to_input(image[0]))
            functions[name, precision, "NumPy"] = lambda scaled=scaled: scaled(image.transpose(0, 3, 1, 2) / np.float32(HALF) - 1)
            functions[name, precision, "the model"] = lambda whole=whole: whole(image)
    milliseconds = timing.latencies(functions, iterations, burst=timing.BURST)
    table = timing.summary(milliseconds).join(timing.ratios(milliseconds, ("plain", "f32", "NumPy"))).assign(threads=max(THREADS))
    return table.rename_axis(["network", "precision", "scaled_by"]).reset_index()


def export(network: nn.Module) -> ov.Model:
    """The OpenVINO model of a network that takes the picture, as ``anet export`` writes it."""
    return deployment.from_picture(deployment.to_openvino(network, SIZE))


def picture() -> np.ndarray:
    """A synthetic picture as it lies in memory, uint8 (1, SIZE, SIZE, 3)."""
    _, image, _ = next(synthetic.samples())
    return np.asarray(image.convert("RGB").resize((SIZE, SIZE)))[None].copy()


def samples(dataset: str, iterations: int) -> tuple[np.ndarray, Samples, Samples]:
    """Training pictures to take ranges from, as the network takes them, other training pictures, and the test pictures."""
    rest, held = hold_back(load(locate(dataset), "train"))
    calibration = np.concatenate([to_input(rest.images[i]) for i in spread(len(rest.ids), min(iterations, CALIBRATION))])
    return calibration, *(s.take(spread(len(s.ids), iterations)) for s in (held, load(locate(dataset), "test")))


def spread(count: int, most: int) -> np.ndarray:
    """Indices of at most so many of ``count`` things, evenly apart."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def request(model: ov.Model, precision: str, threads: int, image: np.ndarray) -> ov.InferRequest:
    """See ``deployment.request``."""
    return deployment.request(deployment.compile_for_cpu(model, precision, threads), image)


def logits(request: ov.InferRequest | native.Compiled) -> np.ndarray:
    """(1, 1, H, W), of what the request's image holds now."""
    request.infer()
    return (request.logits if isinstance(request, native.Compiled) else request.get_output_tensor().data).copy()


def record(dataset: str, request: ov.InferRequest, image: np.ndarray, samples: Samples) -> dict:
    """What ``statistics.difference`` needs of a run, of the request's model on the samples."""
    masks = []
    for one in samples.images:
        image[0] = one
        masks.append(logits(request)[0, 0] > 0)
    counts = confusion(np.stack(masks), samples.masks)
    return {
        "dataset": dataset, "split_seed": 0, "seed": 0, "iou_pooled": 100 * iou_pooled(counts),
        "confusion_images": dict(zip(samples.ids, counts.tolist())), "group_images": dict(zip(samples.ids, samples.groups)),
    }


def compared_ious(records: dict[object, dict], key: object, reference: object) -> dict:
    """Pooled IoU of one in percent, and what it gains on the reference in points with its 95 % interval over surfaces."""
    gain = statistics.difference([records[key]], [records[reference]])
    return {"iou": records[key]["iou_pooled"], **dict(zip(("gain", "gain_low", "gain_high"), gain))}


def compared(requests: dict, iterations: int, reference: object) -> pd.DataFrame:
    """Latencies and how many times faster than the reference, a row a request."""
    milliseconds = timing.latencies({name: r.infer for name, r in requests.items()}, iterations, burst=timing.BURST)
    return timing.summary(milliseconds).join(timing.ratios(milliseconds, reference))


TABLES = {
    "peaks": peaks, "operators": profiles, "rewrites": rewrites, "precisions": precisions, "parts": parts, "throughput": throughput,
    "scaling": scaling,
}


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """What of a table is printed: of the operators, the time of each stage."""
    if "stage" in table:
        return table.pivot_table("microseconds", "stage", ["network", "precision"], aggfunc="sum", sort=False)
    return table.drop(columns="openvino").reset_index(drop=True)


@exit_code
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a first look at everything")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="tables (default: all)")
    options = parser.parse_args()
    machine = timing.machine() + "--quick" * options.quick
    measurements.FOLDER.mkdir(parents=True, exist_ok=True)
    for dataset in NEU if {"precisions", "parts"} & set(options.only) else ():
        locate(dataset)  # a set that is missing is to be told now, and not after half an hour
    for name in options.only:
        table = TABLES[name](timing.BURST * (2 if options.quick else 60))
        table = table.assign(openvino=ov.__version__.split("-")[0])
        path = measurements.path(name, machine)
        table.round(6).to_csv(path, index=False)
        print(f"\n{path}\n{shown(table).round(2).to_string()}")
        if "p95_ms" in table and (warning := measurements.unsteady(table)):
            print(warning)


if __name__ == "__main__":
    sys.exit(main())
