"""Buttons that lead to the repository, where the environment variable BOOK_REPOSITORY says the address of its branch.

A copy of the book on somebody's disk has no such address and shows no such buttons.
"""

import os
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

BOOK = Path(__file__).resolve().parents[1]
NOTEBOOKS = BOOK.parent / "notebooks"


def source(page: str) -> str:
    """What to edit for a file of book/: an executed page, {notebook}-{key}.ipynb, comes from its notebook."""
    notebooks = [path.name for path in NOTEBOOKS.glob("*.ipynb") if page.startswith(path.stem)]
    return f"notebooks/{max(notebooks, key=len)}" if notebooks and page.endswith(".ipynb") else f"book/{page}"


def add_buttons(app: Sphinx, config: Config) -> None:
    """Switch on the theme's buttons: the repository, edit a page, report what is wrong in it, run it on Binder.

    Binder makes its machine of environment.yml.
    """
    if address := os.environ.get("BOOK_REPOSITORY"):
        url, branch = address.split("/tree/")
        config.html_theme_options |= {
            "repository_url": url, "repository_branch": branch,
            "use_repository_button": True, "use_edit_page_button": True, "use_issues_button": True,
            "path_to_docs": BOOK.name, "launch_buttons": {"binderhub_url": "https://mybinder.org", "notebook_interface": "jupyterlab"},
        }
        config.html_context |= {
            "edit_page_provider_name": "GitHub",
            "edit_page_url_template": f"{url}/edit/{branch}/{{{{ sources[file_name] }}}}",
            "sources": {path.name: source(path.name) for path in BOOK.iterdir() if path.is_file()},
        }


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", add_buttons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
