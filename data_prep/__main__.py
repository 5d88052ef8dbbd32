"""Making data sets in the project's format: get the pictures, make a set of them, check it."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

from data_prep import catalogue, decode, format
from data_prep.command_line import exit_code
from data_prep.own import NOTE, TILE, prepare
from data_prep.sources import SOURCES


def make(options: argparse.Namespace) -> None:
    """Make known data sets."""
    for name in options.datasets:
        print(catalogue.make(name, options.out or catalogue.data_root(), options.source))


def index(options: argparse.Namespace) -> None:
    """Write manifest.csv for a folder that has images/ and masks/ as PNG.

    A manifest that is there keeps its groups, and its split unless --test or --split-seed is given; new pictures are then
    for training.
    """
    format.index(options.folder, options.test, options.split_seed)
    print(options.folder)


def own(options: argparse.Namespace) -> None:
    """Make a data set from your own pictures and masks, of any size and common format."""
    folder = prepare(
        options.source, catalogue.place(options.name, options.out), tile=options.tile, overlap=options.overlap,
        test=options.test, split_seed=options.split_seed, white=options.white, defect_values=options.defect_values,
        threshold=options.threshold, unmasked_sound=options.unmasked_sound, join_overlaps=options.join_overlaps,
    )
    fractions = [float(row["defect_fraction"]) for row in format.read_manifest(folder)]
    masked = [fraction for fraction in fractions if fraction or not options.unmasked_sound]
    if median(masked) > 0.5 and 0 not in options.defect_values:
        print(f"by their masks most pictures are more than half defect; where 0 means the defect, delete {folder} and make it again with --defect-values 0", file=sys.stderr)
    print(folder)


def polygons(options: argparse.Namespace) -> None:
    """Make a data set from polygons or rectangles that were drawn in labelme, or polygons of a COCO file; every label means a defect."""
    from data_prep import polygons

    folder = catalogue.place(options.name, options.out)
    notes = {NOTE: json.dumps({"white": options.white}) + "\n"}  # by which further pictures are read
    drawn = polygons.samples(options.source, options.pictures, options.white, options.unmasked_sound)
    format.write(folder, drawn, options.test, options.split_seed, notes=notes)
    taken = {row["id"] for row in format.read_manifest(folder)}
    files = (path for path in options.pictures.iterdir() if path.suffix.lower() in decode.SUFFIXES and path.name[0] != ".")
    if left := {path.stem for path in files} - taken:
        print(f"left out, as nothing says what is on them: {', '.join(sorted(left)[:3])}{', ...' * (len(left) > 3)} ({len(left)} in all); if they show no defect, give --unmasked-sound", file=sys.stderr)
    print(folder)


def fetch(options: argparse.Namespace) -> None:
    """Download a published data set, or unpack its archives at hand."""
    from data_prep.fetch import fetch

    print(fetch(options.dataset, options.out or catalogue.data_root(), options.archives))


def audit(options: argparse.Namespace) -> int:
    """Look for leaks between training and test, odd masks and odd pictures; 1 if there is a fault."""
    from data_prep.audit import main

    return main(catalogue.locate(options.dataset), search=not options.no_overlaps)


@exit_code
def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m data_prep", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(function: Callable) -> argparse.ArgumentParser:
        subparser = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        subparser.set_defaults(run=function)
        return subparser

    def split(subparser: argparse.ArgumentParser, seed: int | None = 0) -> None:
        subparser.add_argument("--test", type=int, help="number of test images (default: one in six)")
        subparser.add_argument("--split-seed", type=int, default=seed)

    out = {"type": Path, "help": "folder that gets the data set (default: ANET_DATA)"}
    white = {"type": int, "help": "the value of 16-bit pictures that is white, such as 4095"}

    one = command(fetch)
    one.add_argument("dataset", help=", ".join(SOURCES))
    one.add_argument("--from", dest="archives", metavar="FILE", nargs="+", type=Path, default=(), help="archives at hand")
    one.add_argument("--out", **out)

    one = command(make)
    one.add_argument("datasets", metavar="dataset", nargs="+", help=", ".join(catalogue.NAMES))
    one.add_argument("--source", type=Path, help="folder of the original pictures (default: under ANET_DATA)")
    one.add_argument("--out", **out)

    one = command(own)
    one.add_argument("source", type=Path, help="folder with images/ and masks/")
    one.add_argument("--name", required=True, help="of the new data set")
    one.add_argument("--out", **out)
    one.add_argument("--tile", type=int, default=TILE, help=f"side of the tiles that larger pictures are cut into (default: {TILE})")
    one.add_argument("--overlap", type=int, default=0, help="least number of pixels that neighbouring tiles share")
    one.add_argument("--white", **white)
    one.add_argument("--defect-values", type=int, nargs="+", default=(), help="values of a mask that mean a defect")
    one.add_argument("--threshold", type=int, help="instead, values above it mean a defect")
    sound = {"action": "store_true", "help": "take pictures without a mask for free of defects"}
    one.add_argument("--unmasked-sound", **sound)
    one.add_argument("--join-overlaps", action="store_true", help="keep pictures that overlap on one side of the split; takes minutes")
    split(one)

    one = command(polygons)
    one.add_argument("source", type=Path, help="a COCO file, or a folder of labelme's files")
    one.add_argument("pictures", type=Path, help="folder of the pictures")
    one.add_argument("--unmasked-sound", **sound)
    one.add_argument("--white", **white)
    one.add_argument("--name", required=True, help="of the new data set")
    one.add_argument("--out", **out)
    split(one)

    one = command(index)
    one.add_argument("folder", type=Path)
    split(one, seed=None)

    one = command(audit)
    one.add_argument("dataset", help="a name, looked for under ANET_DATA, or a folder")
    one.add_argument("--no-overlaps", action="store_true", help="leave the search for overlaps out, which takes minutes")

    options = parser.parse_args(arguments)
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
