"""The console script ``anet``: masks of pictures, a network's files and its speed here, and training one.

What only some commands need, as OpenVINO, is loaded within the functions.
"""

import argparse
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from data_prep.command_line import exit_code

ENDINGS = {"onnx": ".onnx", "openvino": ".xml", "cpp": ".cpp"}
CALIBRATION = 100  # pictures that int8 takes its ranges from


def predict(options: argparse.Namespace) -> int:
    """Mark the defects on pictures.

    Writes NAME-mask.png (0 and 255) and NAME-overlay.png, and prints one line of JSON a picture: its files, width and height; the
    defect's area in pixels and as a fraction of the picture; its connected regions, each with its box [left, top, right, bottom]
    and its pixels; and the milliseconds of the network alone, without reading and writing. Exit code 1 if a picture failed; what an
    earlier call wrote of it is removed then. What predict wrote is passed over where it is given as a picture, and no other file is
    ever replaced. With --recursive, masks and overlays of pictures in a subfolder go to the same subfolder of --out.
    """
    from tqdm import tqdm

    from anet_core.inference import Segmenter
    from anet_core.marking import is_written, listing, mark, pictures_in, require_folder, walk
    from data_prep.decode import SUFFIXES

    segmenter = Segmenter(options.weights, options.precision, options.threads, options.tile, options.overlap, options.threshold)
    require_folder(options.out)
    pictures, passed, failed = {}, set(), 0

    def fail(error: Exception) -> None:
        nonlocal failed
        tqdm.write(str(error), file=sys.stderr)
        failed += 1

    for source in options.pictures:
        try:
            listed = (walk(source, fail) if options.recursive else listing(source)) if source.is_dir() else [source]
            found = [] if is_written(source) else pictures_in(source, listed)
            passed |= set(listed) - set(found)
            for path in found:  # two links to one picture are two pictures
                below = path.parent.relative_to(source) if source.is_dir() else ""
                pictures.setdefault(path.absolute(), (path, options.out / below))
        except (ValueError, OSError) as error:
            fail(error)
    if passed:
        folders = "" if options.recursive or not any(map(os.path.isdir, passed)) else "; subfolders with --recursive"
        print(
            f"passed over: {', '.join(sorted(map(str, passed))[:3])}{', ...' * (len(passed) > 3)} ({len(passed)} in all); read are files that end in "
            f"{', '.join(SUFFIXES)}, but for those that anet predict wrote{folders}", file=sys.stderr,
        )
    taken = {Path(os.path.realpath(path)) for path in pictures}
    for path, out in tqdm(pictures.values(), unit="picture", leave=False, disable=None):
        try:
            line = mark(path, out, segmenter, options.white, options.min_pixels, taken)
        except (ValueError, OSError) as error:
            fail(error)
        except MemoryError:
            fail(ValueError(f"{path} does not fit into memory; cut it into parts, or give a smaller --tile."))
        else:
            tqdm.write(json.dumps(line))
            sys.stdout.flush()
    return 1 if failed else 0


def export(options: argparse.Namespace) -> None:
    """Write a trained network as a file for another runtime, or as a program.

    A file for OpenVINO holds the network rewritten to run faster there, and takes the picture itself; one for ONNX holds the network as it
    was trained, and takes values that were scaled: what is printed says how. One of cpp is the network itself, in C++, which needs a compiler and no
    runtime, and was the fastest where it was timed; it is for A-Net and QuarterNet.
    Files hold f32, or for OpenVINO int8, whose ranges are taken from pictures: give some like those that the network will see.
    bf16 is what a runtime computes in, and is chosen where the file is loaded or compiled.
    """
    import warnings

    from anet_core import deployment, inference, native
    from anet_core.marking import require_folder
    from anet_core.prediction import HALF

    out = options.out
    if out.suffix != ENDINGS[options.format] or out.is_dir():
        raise ValueError(f"{out} cannot hold {options.format}; give a file that ends in {ENDINGS[options.format]} as --out.")
    if options.white and options.format != "openvino":
        raise ValueError("--white is for --format openvino, whose files remember it; for another bring the picture to 8 bits first: divide by white and multiply by 255.")
    if (options.precision == "int8") != bool(options.pictures) or options.precision == "int8" and options.format != "openvino":
        raise ValueError("int8 needs --format openvino and --pictures FOLDER to take its ranges from; f32 needs no pictures.")
    # The rewrites are for OpenVINO: in onnxruntime they make A-Net slower, see the page on timing.
    network = inference.load(options.weights, rewritten=options.format == "openvino")
    size = options.size or inference.size(options.weights)
    white = options.white or inference.white(options.weights)
    pictures = calibration(options.pictures, size, white) if options.pictures else None
    require_folder(out.parent)
    if options.format == "onnx":
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter warns of its own deprecated calls
        deployment.to_onnx(network, size, out)
    elif options.format == "cpp":
        native.write(network, size, out)
    else:
        model = deployment.to_openvino(network, size)
        if pictures is not None:
            model = deployment.quantise(model, pictures, deployment.start(network))
        deployment.write(deployment.from_picture(model, white), out)
    height, width = size
    taken = {
        "onnx": f'"image", float32 (1, 3, {height}, {width}), RGB, each value / {HALF} - 1',
        "openvino": f'"picture", uint8 (1, {height}, {width}, 3), RGB',
        "cpp": f'"picture", uint8 ({height}, {width}, 3), RGB',
    }
    print(f'{out}: from {taken[options.format]}, to "logits", float32 (1, 1, {height}, {width}), above 0 for a defect')


def calibration(folder: Path, size: tuple[int, int], white: int | None) -> "np.ndarray":
    """Up to CALIBRATION pictures of a folder, evenly spread, as the networks take them: float32 (N, 3, H, W).

    Larger ones give their middle and smaller ones are padded by reflection, because predict resizes none either.
    """
    import numpy as np

    from anet_core.dataset import read_image
    from anet_core.inference import to_input
    from anet_core.marking import pictures_in
    from data_prep.own import grown

    height, width = size

    def seen(image: np.ndarray) -> np.ndarray:
        top, left = (max(0, side - taken) // 2 for side, taken in zip(image.shape, size))
        return grown(image[top : top + height, left : left + width], size)

    paths = pictures_in(folder)
    step = -(-len(paths) // CALIBRATION)
    return np.concatenate([to_input(seen(read_image(path, white))) for path in paths[::step]])


def bench(options: argparse.Namespace) -> None:
    """Time a trained network, or an exported file, on this machine, in every precision that it computes natively.

    Latency from a picture in memory to its logits, through OpenVINO, in milliseconds (median, 5th and 95th percentile), and pictures a
    second at the median; of A-Net and QuarterNet in C++, too, where there is a compiler (see export).
    The variants take turns of several pictures. Where the 95th percentile is far from the median, other work disturbed the measurement.
    int8 is as "anet export" writes it, but with ranges taken from noise, which the time does not depend on; what stays floating in it
    is computed in the fastest floating precision. Of a file that was exported in int8, the precision is that of what stayed floating.
    """
    from anet_core import deployment, timing

    whole, quantised = as_benched(options.weights, options.size)
    image = noise(*whole.input(0).shape[1:3])
    threads = [options.threads] if options.threads else sorted({1, timing.cores()})
    variants = {precision: (whole, precision) for precision in deployment.native_precisions()}
    if quantised:
        variants["int8"] = quantised, deployment.fastest(quantised, options.threads or timing.cores(), image)
    functions = {
        ("OpenVINO", precision, count): deployment.request(deployment.compile_for_cpu(*variant, count), image).infer
        for precision, variant in variants.items() for count in threads
    } | {("C++", precision, count): compiled.infer for precision, count, compiled in in_cpp(options.weights, image, threads)}
    burst = min(timing.BURST, options.iterations)
    iterations = options.iterations // burst * burst
    table = timing.summary(timing.latencies(functions, iterations, burst=burst))
    height, width = image.shape[1:3]
    print(f"{timing.cpu_name()}, {height}x{width}, one picture at a time, {iterations} of them")
    print(table.rename_axis(["runtime", "precision", "threads"]).round(2).to_string())


def as_benched(name: str, size: tuple[int, int] | None) -> tuple["ov.Model", "ov.Model | None"]:
    """The model that some weights mean, from a picture to its logits, and the same in int8; of an exported file, what it holds alone."""
    from anet_core import deployment, inference

    file = inference.weights_file(name)
    if file.suffix == ".xml":
        model = deployment.read(file)
        return (deployment.resized(model, size) if size else model), None
    network, size = inference.load(file), size or inference.size(file)
    model = deployment.to_openvino(network, size)
    quantised = deployment.quantise(model, inference.to_input(noise(*size)[0]), deployment.start(network))
    return deployment.from_picture(model), deployment.from_picture(quantised)


def in_cpp(name: str, image: "np.ndarray", threads: list[int]) -> Iterator[tuple[str, int, "native.Compiled"]]:
    """The network that some weights mean in C++, for each precision and number of threads; none where it has no such form, or this machine no compiler."""
    from anet_core import inference, native

    file = inference.weights_file(name)
    network = None if file.suffix == ".xml" else inference.load(file, rewritten=False)
    if network is not None and native.has_form(network):
        for precision in native.precisions():
            for count in threads:
                yield precision, count, native.Compiled(network, image, precision, count)


def noise(height: int, width: int) -> "np.ndarray":
    """A picture of nothing, the same each time: uint8 (1, H, W, 3)."""
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)


def test(options: argparse.Namespace) -> None:
    """Test a trained network, or an exported file, on the test pictures of a data set, at several thresholds.

    Prints, in percent over all pictures together: the IoU; how much of the defects is found, how much of what is marked is right, and how
    many of the sound pictures have a false alarm. A threshold that is chosen by some pictures is to be judged by others: --part train
    shows those that the network was trained on, on which it is better than it will be.
    """
    from anet_core.dataset import load
    from anet_core.inference import Segmenter, weights_file
    from anet_core.thresholds import at_thresholds
    from data_prep import locate

    folder = locate(options.dataset)
    name = options.weights or folder.name
    require_split(weights_file(name), folder.name, options.split_seed)
    segmenter = Segmenter(name, options.precision, options.threads)
    samples = load(folder, options.part, options.split_seed)
    print(f"{name} on {len(samples.ids)} pictures, {(~samples.masks.any((1, 2))).sum()} of them sound")
    print(at_thresholds(segmenter, samples, options.min_pixels).round(1).to_string(na_rep="-"))


def require_split(weights: Path, dataset: str, split_seed: int) -> None:
    """Raise ValueError where the name of a weights file says that it was trained on pictures that the split asked for tests on.

    Where the name says nothing of it, and another split than a data set's own is asked for, a sentence says so.
    """
    from anet_core.subject import published
    from data_prep.neu import BY_CHANCE

    asked, named = f"split{split_seed}", weights.stem.rsplit("--", 4)  # see records.run_name
    if len(named) != 5 and split_seed:
        print(f"{weights} does not say what it was trained on; some of it may be among what {asked} tests on.", file=sys.stderr)
    if len(named) != 5 or published(named[0]) != published(dataset):
        return
    if named[3] != asked or (named[0] in BY_CHANCE) != (dataset in BY_CHANCE):
        raise ValueError(
            f"{weights} was trained on {named[3]} of {named[0]}, and so on pictures that {asked} of {dataset} tests on; give the file of a run on "
            f"{asked} of {dataset} as --weights, or the data set and --split-seed of this one."
        )


def train(options: argparse.Namespace) -> None:
    """Train a network on a data set and test it; what was killed goes on when the same is asked again."""
    import torch

    from anet_core.protocol import protocol
    from anet_core.records import converged, name_of, run_name
    from anet_core.run import run
    from anet_core.training import read_checkpoint
    from data_prep import locate

    if options.threads:
        torch.set_num_threads(options.threads)
    folder = locate(options.dataset)
    try:
        record = converged(run(options.model, folder, protocol(options.protocol), options.split_seed, options.seed, results=options.results))
    except KeyboardInterrupt:
        name = run_name(options.model, folder.name, options.protocol, options.split_seed, options.seed)
        checkpoint = options.results / "checkpoints" / f"{name}.pt"
        done = len(read_checkpoint(checkpoint)["losses"]) if checkpoint.is_file() else 0
        print()  # the line of the progress ends
        print(f"interrupted; given again, the same command goes on from iteration {done}", file=sys.stderr)
        raise
    file = options.results / "weights" / f"{name_of(record)}.safetensors"
    weights = f"weights in {file}" if file.is_file() else f"recorded before, and its weights {file} are not at hand: give another --results to train it again"
    print(f"IoU {record['iou_pooled']:.2f} % on {len(record['iou_images'])} test images; {weights}")


def sides(text: str) -> tuple[int, int]:
    """Height and width from "224" or "480x640"."""
    read = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    size = read and (int(read[1]), int(read[2] or read[1]))
    if not size or min(size) < 32 or any(side % 32 for side in size):
        raise argparse.ArgumentTypeError(f'{text!r} is not of multiples of 32, as "224" or "480x640" is')
    return size


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def grey(text: str) -> int:
    """A value that 16 bits can hold, and not 0."""
    from data_prep.decode import WHITE

    if not 1 <= int(text) <= WHITE:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to {WHITE}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    from anet_core.prediction import THRESHOLD
    from anet_core.records import RESULTS
    from anet_core.tiling import OVERLAP
    from data_prep.decode import WHITE
    from data_prep.own import TILE

    whole = argparse.ArgumentParser(prog="anet", description="A-Net marks defects on pictures of surfaces.")
    commands = whole.add_subparsers(required=True)

    def weights(default: str | None, words: str = "%(default)s") -> argparse.ArgumentParser:
        one = argparse.ArgumentParser(add_help=False)
        one.add_argument(
            "--weights", default=default, metavar="NAME",
            help="the data set whose A-Net it is, with :NETWORK behind it another network trained on it, each by the protocol tuned with seed 0; or a "
                 f".safetensors file; predict, test and bench also take an .xml file that export wrote (default: {words})",
        )
        return one

    trained = weights("neu-inclusion")
    threads = argparse.ArgumentParser(add_help=False)
    threads.add_argument("--threads", type=positive, help="of the CPU (default: all; bench: one, and all)")
    size = argparse.ArgumentParser(add_help=False)
    size.add_argument(
        "--size", type=sides,
        help='of a picture: a side, or "HEIGHTxWIDTH", multiples of 32 (default: that of the pictures that it was trained on)',
    )

    white = argparse.ArgumentParser(add_help=False)
    white.add_argument("--white", type=grey, help=f"what is white in grey pictures of 16 bits (default: as in those that it was trained on, or {WHITE})")

    def command(function: Callable, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        one = commands.add_parser(
            function.__name__, parents=parents, help=function.__doc__.splitlines()[0], description=inspect.cleandoc(function.__doc__),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.set_defaults(run=function)
        return one

    specks = argparse.ArgumentParser(add_help=False)
    specks.add_argument(
        "--min-pixels", type=positive, default=1, help="connected regions of fewer marked pixels are taken for sound (default: %(default)s)"
    )

    one = command(predict, trained, threads, white, specks)
    one.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="a file, or a folder of pictures")
    one.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where masks and overlays go")
    one.add_argument("--precision", default="f32", help="f32 or bf16, if this CPU has it (default: %(default)s)")
    one.add_argument(
        "--tile", type=positive,
        help="pictures with a longer side are cut into tiles of it (default: the side of the pictures that it was trained on, or of what an "
             f".xml file was exported for; {TILE} where that is not known)",
    )
    one.add_argument(
        "--threshold", type=float, default=THRESHOLD, help="probability above which a pixel is a defect: a smaller one marks more (default: %(default)s)"
    )
    one.add_argument("--overlap", type=int, help=f"least number of pixels that tiles share (default: {OVERLAP}, or half a tile)")
    one.add_argument("--recursive", action="store_true", help="read subfolders of folders, too; --out gets the same ones")

    one = command(test, weights(None, "the A-Net of --dataset"), threads, specks)
    one.add_argument("--dataset", required=True, help="a known name or a folder")
    one.add_argument("--part", choices=("test", "train"), default="test", help="of the data set's pictures (default: %(default)s)")
    one.add_argument("--split-seed", type=int, default=0, help="0: the data set's own split")
    one.add_argument("--precision", default="f32", help="f32 or bf16, if this CPU has it (default: %(default)s)")

    one = command(export, trained, size, white)
    one.add_argument("--format", choices=ENDINGS, required=True)
    one.add_argument("--precision", choices=("f32", "int8"), default="f32", help="of the file (default: %(default)s)")
    one.add_argument("--pictures", type=Path, metavar="FOLDER", help=f"that int8 takes its ranges from, of {CALIBRATION} at most")
    one.add_argument("--out", type=Path, required=True, metavar="FILE", help=f"ends in {' or '.join(ENDINGS.values())}")

    one = command(bench, trained, threads, size)
    one.add_argument("--iterations", type=positive, default=200, help="pictures timed in each way (default: %(default)s)")

    one = command(train, threads)
    one.add_argument("--dataset", required=True, help="a known name or a folder")
    one.add_argument("--protocol", default="tuned", help="tuned, printed or quick (default: %(default)s)")
    one.add_argument("--model", default="A-Net", help="a name of anet_core.names() (default: %(default)s)")
    one.add_argument("--split-seed", type=int, default=0, help="0: the data set's own split")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--results", type=Path, default=RESULTS, help="folder of runs/ and weights/ (default: %(default)s)")
    return whole


@exit_code
def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    try:
        options = parser().parse_args(arguments)
        return options.run(options)
    except BrokenPipeError:  # who read the lines has had enough of them
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
