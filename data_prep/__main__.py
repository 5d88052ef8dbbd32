"""python -m data_prep make DATASET [--source DIR] [--out DIR], or index FOLDER [--test N]."""

import argparse
import sys
from pathlib import Path

from data_prep import catalogue, format


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0, or 1 after one sentence on what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m data_prep", description="Make data sets in the project's format.")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="make a known data set")
    make.add_argument("dataset", help=", ".join(catalogue.NAMES))
    make.add_argument("--source", type=Path, help="folder of the original pictures (default: under ANET_DATA)")
    make.add_argument("--out", type=Path, help="folder that gets the data set (default: ANET_DATA)")
    index = commands.add_parser("index", help="write manifest.csv for a folder that has images/ and masks/")
    index.add_argument("folder", type=Path)
    index.add_argument("--test", type=int, help="number of test images (default: one in six)")
    index.add_argument("--split-seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        if options.command == "make":
            folder = catalogue.make(options.dataset, options.out or catalogue.data_root(), options.source)
        else:
            folder = options.folder
            images = len(list((folder / "images").glob("*.png")))
            format.index(folder, max(1, images // 6) if options.test is None else options.test, options.split_seed)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
