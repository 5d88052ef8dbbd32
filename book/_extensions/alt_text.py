"""A figure's alt text is the text that its notebook holds in place of the picture (anet_core.figures writes it)."""

from docutils import nodes
from sphinx.application import Sphinx


def describe_images(app: Sphinx, doctree: nodes.document) -> None:
    """Give each picture of an output the output's plain text; myst-nb keeps both until the page is written."""
    for bundle in doctree.findall(nodes.container):
        if bundle.get("nb_element") == "mime_bundle":
            text = "".join(form.astext() for form in bundle if form["mime_type"] == "text/plain")
            for image in bundle.findall(nodes.image):
                image.setdefault("alt", text)


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", describe_images)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
