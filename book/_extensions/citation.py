"""CITATION.cff and BibTeX of the same beside the pages, for the links in their footer."""

from pathlib import Path
from shutil import copy

import yaml
from pybtex.database import BibliographyData, Entry, Person, parse_file
from sphinx.application import Sphinx

CFF = Path(__file__).resolve().parents[2] / "CITATION.cff"
PAPER = "chen2024anet"


def software(cff: dict) -> Entry:
    """The BibTeX entry of this reproduction; the braces keep an author that is no person, and capitals, as they are."""
    authors = [Person(last=f"{{{author['name']}}}") for author in cff["authors"]]
    return Entry("software", [("title", f"{{{cff['title']}}}"), ("version", cff["version"])], {"author": authors})


def write_citation(app: Sphinx, error: Exception | None) -> None:
    """Copy CITATION.cff and write citation.bib: this reproduction and the paper."""
    if error is None and app.builder.format == "html":
        paper = parse_file(str(Path(app.srcdir) / "references.bib")).entries[PAPER]
        entries = {"anet-reproduced": software(yaml.safe_load(CFF.read_text())), PAPER: paper}
        BibliographyData(entries).to_file(str(Path(app.outdir) / "citation.bib"), "bibtex")
        copy(CFF, app.outdir)


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", write_citation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
