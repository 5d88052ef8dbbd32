"""A page whose notebook failed is a warning of the build, and stops a strict one: pages are executed before they are built."""

import json

from sphinx.application import Sphinx
from sphinx.util.logging import getLogger


def report_failures(app: Sphinx, page: str, source: list[str]) -> None:
    """Warn of a page with an error among its outputs, and name the cell."""
    if app.env.doc2path(page).endswith(".ipynb"):
        for i, cell in enumerate(json.loads(source[0])["cells"]):
            for output in cell.get("outputs", []):
                if output["output_type"] == "error":
                    said = f"{output['ename']}: {output['evalue']}"
                    getLogger(__name__).warning("cell %d failed when the page was executed: %s", i, said, location=page)


def setup(app: Sphinx) -> dict:
    app.connect("source-read", report_failures)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
