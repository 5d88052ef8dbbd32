"""The built site opens from a folder: no network, and nothing that a browser refuses or a screen reader stumbles over."""

import re
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

REPAIRS = {
    r'<link rel="preload" as="font"[^>]*>\n?': "",  # of the theme; browsers refuse it to pages from file://
    r'<div role="list" (?=class="citation-list")': "<div ",  # of docutils; to ARIA its entries are none of a list
    r'<summary>(?=<span class="toctree-toggle")': '<summary aria-label="chapters under this one">',  # of the theme; without a name
}
PAGE_LINK = re.compile(r'href="([\w-]+)\.html(?:#([\w-]+))?"')  # of tables of notebooks, which Sphinx does not look into


def add_mathjax(app: Sphinx, config: Config) -> None:
    """Of MathJax's package copy only the one file that mathjax_path names."""
    package = Path(find_spec("sphinx-mathjax-offline").origin).parent
    config.html_static_path.append(str(package / "static" / "mathjax" / config.mathjax_path))


def leave_out_thebe(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Jupyter Book loads Thebe, which runs cells on a server, whether a page offers that or not."""
    context["script_files"] = [file for file in context["script_files"] if "thebe" not in f"{file.filename}{file.attributes}"]


def repair_pages(app: Sphinx, error: Exception | None) -> None:
    """Replace in the built pages what REPAIRS names; where all are one page, links between pages stay in it."""
    if error is None and app.builder.format == "html":
        for page in Path(app.outdir).glob("*.html"):
            text = built = page.read_text()
            for pattern, replacement in REPAIRS.items():
                text = re.sub(pattern, replacement, text)
            if app.builder.name == "singlehtml":
                text = PAGE_LINK.sub(lambda link: f'href="#{link[2] or "document-" + link[1]}"', text)
            if text != built:
                page.write_text(text)


def leave_out_maps(app: Sphinx, error: Exception | None) -> None:
    """The source maps of the theme: more than a megabyte that only its makers look at."""
    if error is None and app.builder.format == "html":
        for path in Path(app.outdir, "_static").rglob("*.map"):
            path.unlink()


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", add_mathjax)
    app.connect("html-page-context", leave_out_thebe, priority=900)
    app.connect("build-finished", repair_pages)
    app.connect("build-finished", leave_out_maps)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
