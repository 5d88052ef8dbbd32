"""The built book in a browser: opened from file://, at two widths, in light and dark."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from playwright.sync_api import expect
from pybtex.database import parse_file

from conftest import ROOT
from test_notebooks import PAGES

sys.path.insert(0, str(ROOT / "book" / "_extensions"))
from repository import source  # noqa: E402

HTML = ROOT / "book" / "_build" / "html"
CHAPTERS = re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text())
BUILT = [*CHAPTERS, "search", "genindex"]
DEMO = HTML / "demo" / "built"  # what workflow/demo.py writes; a build without npm has none, and its page says so

pytestmark = pytest.mark.skipif(not HTML.exists(), reason="there is no site in book/_build/html; run: make site")


@pytest.fixture(scope="module")
def window(browser):
    return browser.new_context(reduced_motion="reduce")


@pytest.fixture
def tab(window):
    """A tab in which an error on the console, a failed request or one that leaves the disk fails the test."""
    tab, faults = window.new_page(), []
    tab.on("console", lambda message: faults.append(f"{message.text} {message.location['url']}") if message.type == "error" else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
    tab.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else faults.append(request.url))
    yield tab
    tab.close()
    assert [fault for fault in faults if DEMO.exists() or DEMO.as_uri() not in fault] == []


def address(page, query=""):
    return (HTML / f"{page}.html").as_uri() + query


# The theme looks 300 ms after something has come up whether the keyboard must reach it to scroll.
CODE_IS_REACHED = "() => [...document.querySelectorAll('pre')].every((box) => box.scrollWidth <= box.clientWidth || box.tabIndex === 0)"

# What is made like what stands just above it need not be looked at again: a table's fourth row, a section's second code cell.
REPEATS = [["tbody > tr:nth-child(n+4)"], [".cell ~ .cell pre"]]


def severe_faults(tab):
    options = {"resultTypes": ["violations"], "preload": False}  # preloading asks for style sheets, which file:// refuses
    violations = Axe().run(tab, context={"exclude": REPEATS}, options=options).response["violations"]
    return [
        (violation["id"], node["target"], node["html"])
        for violation in violations if violation["impact"] in ("serious", "critical") for node in violation["nodes"]
    ]


@pytest.mark.parametrize("page", BUILT)
def test_page(tab, page):
    """Nothing wrong in the console, nothing wider than the screen, mathematics set, nothing that axe calls serious."""
    for width, scheme in ((360, "dark"), (1440, "light")):
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(color_scheme=scheme)
        if tab.url != address(page):
            tab.goto(address(page))
            tab.evaluate("() => window.MathJax?.startup?.promise.then(() => null)")
            tab.evaluate("() => document.querySelectorAll('details').forEach((folded) => { folded.open = true; })")
            tab.wait_for_function(CODE_IS_REACHED, timeout=2000)
        expect(tab.locator("html")).to_have_attribute("data-theme", scheme)
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert severe_faults(tab) == []
    assert tab.locator(".bd-content .math").count() == tab.locator(".bd-content mjx-container").count()
    assert tab.locator("[data-mjx-error], mjx-merror").count() == 0


def test_the_index_leads_to_the_first_page(tab):
    tab.goto((HTML / "index.html").as_uri())
    tab.wait_for_url(address(CHAPTERS[0]))


def test_search_finds_a_word_and_only_where_it_is(tab):
    found = {}
    for word in ("saliency", "xyzzy"):
        tab.goto(address("search", f"?q={word}"))
        tab.wait_for_function("document.querySelector('#search-results .search-summary')?.textContent.includes('search')")
        found[word] = [link.get_attribute("href") for link in tab.locator("#search-results li a").all()]
    assert "references.html" in {href.split("?")[0].split("#")[0] for href in found["saliency"]}
    assert found["xyzzy"] == []


def column(tab, number, rows="tbody tr"):
    return tab.locator(f"{rows} > :nth-child({number})").all_inner_texts()


MADE_TABLE = """<!doctype html><title>made</title><script src="{script}"></script><div class="cell_output"><div class="output">
<table><thead><tr><th></th><th>network</th><th>count</th><th>kind</th></tr></thead><tbody>{rows}</tbody></table></div></div>"""


@pytest.fixture
def made_table(tab, tmp_path):
    """Twenty rows whose counts have thousands separators, intervals, a sign and a hole."""
    counts = ["1,200", "9.5 ± 2", "-3", "none", "80 %", *map(str, range(100, 115))]
    rows = "".join(
        f"<tr><th>{i}</th><td>Net-{20 - i}</td><td>{count}</td><td>{('light', 'not light')[i % 2]}</td></tr>"
        for i, count in enumerate(counts)
    )
    file = tmp_path / "made.html"
    file.write_text(MADE_TABLE.format(script=(HTML / "_static" / "tables.js").as_uri(), rows=rows))
    tab.goto(file.as_uri() + "?filter=net&kind=light")
    return tab


def test_a_column_sorts_by_number_or_by_text_and_back(made_table):
    before = column(made_table, 3)
    button = made_table.locator("th button", has_text="count")
    button.focus()
    made_table.keyboard.press("Enter")
    rising = ["-3", "9.5 ± 2", "80 %", *map(str, range(100, 115)), "1,200"]
    assert column(made_table, 3) == [*rising, "none"]
    assert made_table.locator("th", has_text="count").get_attribute("aria-sort") == "ascending"
    button.click()
    assert column(made_table, 3) == [*reversed(rising), "none"]
    made_table.locator("th button", has_text="network").click()
    assert column(made_table, 2) == [f"Net-{i}" for i in range(1, 21)]
    assert made_table.locator("th[aria-sort]").all_inner_texts() == [made_table.locator("th", has_text="network").inner_text()]
    button.click(), button.click(), button.click()
    assert column(made_table, 3) == before


def test_a_filter_keeps_the_rows_with_all_words_and_the_choice(made_table):
    words, kind = made_table.get_by_label("filter rows"), made_table.get_by_label("kind")
    shown = made_table.locator("tbody tr:visible")
    assert (words.input_value(), kind.input_value(), shown.count()) == ("net", "light", 10)  # as the address asks
    kind.select_option("kind: any")
    words.fill("net-1 10")
    assert [row.split()[1:3] for row in shown.all_inner_texts()] == [[f"Net-{20 - i}", str(95 + i)] for i in range(5, 11)]
    kind.select_option("not light")
    assert [row.split()[0] for row in shown.all_inner_texts()] == ["5", "7", "9"]
    assert made_table.locator("output").inner_text() == "3 of 20 rows"


def test_the_long_tables_of_the_book_sort(tab):
    tab.goto(address("complexity_audit"))
    table = tab.locator("table:has(th button)").first
    table.locator("th button").nth(1).click()
    head = table.locator("th[aria-sort]")
    assert head.count() == 1 and head.get_attribute("aria-sort") == "ascending"


def test_digits_are_grouped_where_a_column_is_of_numbers(tab, tmp_path):
    rows = "".join(f"<tr><th>row</th><td>{n}</td><td><a href='#x'>{n}</a></td><td>run {n}</td></tr>" for n in ("389768", "-1251.25309", "99", "0.12345"))
    (tmp_path / "made.html").write_text(MADE_TABLE.format(script=(HTML / "_static" / "tables.js").as_uri(), rows=rows))
    tab.goto((tmp_path / "made.html").as_uri())
    grouped = ["389,768", "-1,251.25309", "99", "0.12345"]
    assert column(tab, 2) == column(tab, 3) == grouped and tab.locator("td a").all_inner_texts() == grouped
    assert column(tab, 4)[0] == "run 389768"


def test_the_names_of_rows_stand_beside_those_of_columns(tab, tmp_path):
    heads = "<tr><th>&nbsp;</th><th>fps</th></tr><tr><th>network</th><th>&nbsp;</th></tr>"
    two = "<tr><th>threads</th><th>1</th></tr><tr><th>network</th><th>ms</th></tr>"
    tables = "".join(f"<table><thead>{head}</thead><tbody><tr><th>A-Net</th><td>1</td></tr></tbody></table>" for head in (heads, two))
    script = (HTML / "_static" / "tables.js").as_uri()
    (tmp_path / "made.html").write_text(f'<!doctype html><title>made</title><script src="{script}"></script><div class="cell_output">{tables}</div>')
    tab.goto((tmp_path / "made.html").as_uri())
    assert [row.locator("th").all_inner_texts() for row in tab.locator("thead tr").all()] == [
        ["network", "fps"], ["threads", "1"], ["network", "ms"]]


PRINTED = re.compile(r"printed( \(\w\)| height)?")  # heads of columns that hold what the paper prints


def test_every_printed_number_leads_to_its_row_of_the_ledger():
    soups = {page: BeautifulSoup((HTML / f"{page}.html").read_text(), "html.parser") for page in BUILT}
    printed = {row["id"]: row.find_all("td")[2].text for row in soups["claims"].select("table.ledger tbody tr")}
    linked, bare = set(), []
    for page in ("paper_tables", "network", "blocks", *(page for page in BUILT if page.startswith(("complexity", "comparison", "ablation")))):
        for table in soups[page].select(".cell_output table"):
            heads = [head.text for head in table.select("thead th")]
            for row in table.select("tbody tr"):
                cells = zip(heads, row.find_all(("th", "td")), strict=True)
                bare += [(page, row.text) for head, cell in cells if PRINTED.fullmatch(head) and cell.text and not cell.a]
            for link in table.select("a[href^='claims.html#']"):
                claim = link["href"].partition("#")[2]
                assert printed[claim].split()[0] == link.text, (page, claim)
                linked.add(page)
    assert bare == [] and {"paper_tables", "network", "blocks", "complexity_audit", "comparison-neu-inclusion"} <= linked


def test_no_table_is_left_as_text():
    """What a cell returns as Markdown has no tables in a page."""
    assert [page for page in CHAPTERS if re.search(r"<p>\s*\|", (HTML / f"{page}.html").read_text())] == []


def test_every_picture_is_described():
    """Where a page's notebook held no description, docutils puts the file's name, and matplotlib the figure's size."""
    nameless = [
        (page, image["src"]) for page in BUILT for image in BeautifulSoup((HTML / f"{page}.html").read_text(), "html.parser").find_all("img")
        if not image.get("alt") or image["alt"].startswith(("<", "_images/"))
    ]
    assert nameless == []


def test_the_site_is_small():
    sizes = [path.stat().st_size for path in HTML.rglob("*") if path.is_file() and not path.is_relative_to(DEMO)]
    assert sum(sizes) < 20e6


def test_the_bibtex_is_what_citation_cff_says():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    entries = parse_file(HTML / "citation.bib").entries
    assert (HTML / "CITATION.cff").read_text() == (ROOT / "CITATION.cff").read_text()
    assert [str(author) for author in entries["anet-reproduced"].persons["author"]] == [f"{{{cff['authors'][0]['name']}}}"]
    assert entries["anet-reproduced"].fields["version"] == cff["version"]
    assert entries["chen2024anet"].fields["doi"] == cff["preferred-citation"]["doi"]
    authors = [(a["family-names"], a["given-names"]) for a in cff["preferred-citation"]["authors"]]
    assert [(" ".join(a.last_names), " ".join(a.first_names)) for a in entries["chen2024anet"].persons["author"]] == authors


def test_an_edit_leads_to_the_notebook_of_an_executed_page():
    assert {page: source(f"{page}.ipynb") for page in PAGES} == {page: f"notebooks/{name}.ipynb" for page, (name, _) in PAGES.items()}
    assert source("intro.md") == "book/intro.md"


def test_a_page_whose_notebook_failed_stops_the_build_and_is_named(tmp_path):
    page = json.loads((ROOT / "book" / "runs.ipynb").read_text())
    [failed, *_] = [i for i, cell in enumerate(page["cells"]) if cell.get("outputs")]
    page["cells"][failed]["outputs"] = [{"output_type": "error", "ename": "OSError", "evalue": "no such record", "traceback": []}]
    (tmp_path / "runs.ipynb").write_text(json.dumps(page))
    settings = ["extensions=executed,myst_nb", "master_doc=runs", "nb_execution_mode=off", "suppress_warnings=myst"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-q", "-C", *(part for one in settings for part in ("-D", one)), tmp_path, tmp_path / "out"],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "book" / "_extensions")},
    )
    assert done.returncode != 0 and re.search(rf"runs.*cell {failed} failed .*: OSError: no such record", done.stderr)


@pytest.mark.parametrize("repository", ["", "https://github.com/someone/anet/tree/main"])
def test_buttons_to_the_repository_only_where_there_is_one(tmp_path, repository):
    (tmp_path / "intro.md").write_text("# Title\n\n[a page](runs.ipynb)\n")
    shutil.copy(ROOT / "book" / "runs.ipynb", tmp_path)
    settings = [
        "extensions=repository,myst_nb", "html_theme=sphinx_book_theme", "master_doc=intro", "nb_execution_mode=off",
    ]
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-C", *(part for setting in settings for part in ("-D", setting)), tmp_path, tmp_path / "out"],
        check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "book" / "_extensions"), "BOOK_REPOSITORY": repository},
    )
    links = {
        link.get("href") for page in ("intro", "runs")
        for link in BeautifulSoup((tmp_path / "out" / f"{page}.html").read_text(), "html.parser").find_all("a")
    }
    expected = {
        "https://github.com/someone/anet/edit/main/book/intro.md", "https://github.com/someone/anet/edit/main/notebooks/runs.ipynb",
        "https://mybinder.org/v2/gh/someone/anet/main?urlpath=lab/tree/book/runs.ipynb",
    }
    assert expected & links == (expected if repository else set())
    assert any("github.com" in str(link) or "binder" in str(link) for link in links) == bool(repository)


def test_the_hosted_run_is_the_local_one():
    """The workflow runs .ci/run and publishes the site which that has built and tested."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert [step["run"] for step in steps if "run" in step] == ["bash .ci/run"]
    assert {"path": "book/_build/html"} in [step.get("with") for step in steps]
