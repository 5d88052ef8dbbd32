"""Keep the committed notebooks quiet: sources hold only the outputs that nbval compares.

    python workflow/clean.py notebooks/*.ipynb
"""

import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

CHECKED = "nbval-check-output"


def source(notebook: NotebookNode) -> NotebookNode:
    """A source notebook: outputs and counts only in cells tagged nbval-check-output, stable ids, no run's traces.

    nbval compares only cells that have an execution count, so an untagged cell's output would be checked too.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code" and CHECKED not in cell.metadata.get("tags", []):
            cell.outputs, cell.execution_count = [], None
    return without_traces(notebook)


def without_traces(notebook: NotebookNode) -> NotebookNode:
    """Drop what differs from one run to the next: timing, paths, random ids of cells and of styled tables."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i:02}"
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        for output in cell.get("outputs", []):
            if "pandas.io.formats.style.Styler" in output.get("data", {}).get("text/plain", ""):
                output.data["text/plain"] = "a table"
                output.data["text/html"] = re.sub(r"\bT_[0-9a-f]{5}", f"T_{i:05}", output.data["text/html"])
    return notebook


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        nbformat.write(source(nbformat.read(path, as_version=4)), path)
