"""Execute notebooks into the book's pages with papermill: {notebook}-{key}.ipynb in book/.

    python workflow/pages.py                      every page whose data is at hand
    python workflow/pages.py --embedded           those that need no data but the synthetic set
    python workflow/pages.py comparison-synthetic the pages named
"""

import argparse
import base64
import io
import os
import sys
from pathlib import Path

import nbformat
import papermill
from PIL import Image

from anet_core.grid import NEU, TILES
from clean import without_traces
from data_prep import locate
from data_prep.catalogue import data_root
from data_prep.whole import whole

ROOT = Path(__file__).resolve().parents[1]
REAL = (*NEU, TILES)
FIRST_MACHINE = "amd-epyc-zen-4-2-cores"  # of the pages without a machine's name
OTHER_MACHINES = ("amd-epyc-zen-5-2-cores", "intel-r-xeon-r-processor-2-cores", "intel-r-xeon-r-processor-with-amx-2-cores")

# Pages that are committed: name of the page -> (notebook, parameters). Real pictures are not ours to publish, so a
# page of a real data set is executed without them.
PAGES: dict[str, tuple[str, dict]] = {
    "claims": ("claims", {}),
    "dataset-synthetic": ("dataset", {"dataset": "synthetic"}),
    **{f"dataset-{name}": ("dataset", {"dataset": name, "pictures": False}) for name in REAL},
    "audit-synthetic": ("audit", {"dataset": "synthetic"}),
    **{f"audit-{name}": ("audit", {"dataset": name, "pictures": False}) for name in REAL},
    "relabelling-synthetic": ("relabelling", {"dataset": "synthetic"}),
    **{f"relabelling-{name}": ("relabelling", {"dataset": name, "pictures": False}) for name in NEU},
    "network": ("network", {}),
    "blocks": ("blocks", {}),
    "complexity_audit": ("complexity_audit", {}),
    "protocol": ("protocol", {}),
    "ablation-synthetic": ("ablation", {"dataset": "synthetic"}),
    **{f"ablation-{name}": ("ablation", {"dataset": name, "protocol": "tuned", "train": []}) for name in NEU},
    "comparison-synthetic": ("comparison", {"dataset": "synthetic"}),
    **{f"comparison-{name}": ("comparison", {"dataset": name, "protocol": "tuned", "train": [], "pictures": False}) for name in REAL},
    "paper_tables": ("paper_tables", {}),
    "runs": ("runs", {}),
    **{name: (name, {"machine": FIRST_MACHINE}) for name in ("timing", "deployment", "quantisation")},
    **{f"{name}-{one}": (name, {"machine": one}) for one in OTHER_MACHINES for name in ("timing", "deployment", "quantisation")},
    "quarter": ("quarter", {}),
    "your_data": ("your_data", {}),
}

# Notebook -> what it reads of results/, as shell patterns, whose * goes through folders.
READS: dict[str, tuple[str, ...]] = {
    "ablation": ("runs/{dataset}--*",), "comparison": ("runs/{dataset}--*",),
    "audit": ("runs/{dataset}*--A-Net--tuned--*",), "relabelling": ("runs/{dataset}*--A-Net--*--split0-*",),
    "protocol": ("runs/neu-*--A-Net--*", "runs/neu-*--ENet--*", "recalibrated/*", "processor/*", "study/*", "tuning/*"), "runs": ("runs/*", "processor/runs/*"), "claims": ("*",),
    "complexity_audit": ("runs/*",), "timing": ("timing/*", "deployment/*--rewrites.csv", "deployment/*--training.csv", "gpu/*", "runs/*"),
    "deployment": ("deployment/*", "runs/*"), "quantisation": ("deployment/*",), "quarter": ("deployment/*", "runs/*", "tuning/*"),
    "dataset": (), "network": (), "blocks": (), "paper_tables": ("runs/neu-*",), "your_data": (),
}


def execute(page: str) -> None:
    """Run a page's notebook and write the page, whole or not at all."""
    notebook, parameters = PAGES[page]
    executed = papermill.execute_notebook(
        str(ROOT / "notebooks" / f"{notebook}.ipynb"), None, parameters, cwd=str(ROOT / "notebooks"), progress_bar=False
    )
    executed = indexed(without_traces(executed))
    if key := page.removeprefix(notebook).lstrip("-"):
        title, *rest = executed.cells[0].source.split("\n")
        executed.cells[0].source = "\n".join([f"{title} ({key})", *rest])
    with whole(ROOT / "book" / f"{page}.ipynb") as temporary:
        nbformat.write(executed, temporary)


def indexed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with its pictures in 256 colours, which takes half the bytes and cannot be seen."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                picture, small = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))), io.BytesIO()
                picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
                output.data["image/png"] = base64.b64encode(small.getvalue()).decode()
    return notebook


def needs_data(page: str) -> bool:
    """Whether a page reads a data set other than the synthetic one."""
    return PAGES[page][1].get("dataset", "synthetic") != "synthetic"


def at_hand(page: str) -> bool:
    """Whether a page's data set is where ANET_DATA says."""
    try:
        locate(PAGES[page][1].get("dataset", "synthetic"))
    except FileNotFoundError as error:
        print(f"{page} left as it is: {error}")
        return False
    return True


def main() -> int:
    """The command line; 0, or 1 after the name of the page that failed and why."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", help=", ".join(PAGES))
    parser.add_argument("--embedded", action="store_true", help="only pages that need no data but the synthetic set")
    options = parser.parse_args()
    os.environ["ANET_DATA"] = str(data_root())  # the notebooks run in their own folder
    if unknown := set(options.pages) - PAGES.keys():
        print(f"unknown page {', '.join(sorted(unknown))}; known: {', '.join(PAGES)}.", file=sys.stderr)
        return 1
    for page in options.pages or PAGES:
        if (options.embedded and needs_data(page)) or not at_hand(page):
            continue
        try:
            execute(page)
        except papermill.PapermillExecutionError as error:
            print(f"{page} failed in cell {error.cell_index}: {error.ename}: {error.evalue}", file=sys.stderr)
            return 1
        print(f"book/{page}.ipynb")
    return 0


if __name__ == "__main__":
    sys.exit(main())
