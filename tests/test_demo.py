"""The page "Try it", opened from file:// in a real browser, and what workflow/demo.py writes for it."""

import base64
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anet_core import predict, weights
from anet_core.dataset import read_image
from data_prep import format, synthetic

from conftest import ROOT

sys.path.insert(0, str(ROOT / "workflow"))
import demo  # noqa: E402

MARKED = re.compile(r"(\d+\.\d) % of .+ is marked as defect\. \d+ ms in this browser, the median of \d+ at (\d+) × (\d+) pixels\.")


def package(members: dict[str, bytes]) -> tuple[bytes, str]:
    """A gzipped tar of these members, and its hash as npm prints it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue(), "sha512-" + base64.b64encode(hashlib.sha512(buffer.getvalue()).digest()).decode()


def test_unpacks_only_what_the_page_needs():
    data, integrity = package({demo.MEMBERS["module"]: b"export {}", "package/dist/ort.js": b"more", demo.MEMBERS["wasm"]: b"\0asm"})
    assert demo.unpack(data, integrity) == {"module": b"export {}", "wasm": b"\0asm"}


def test_refuses_another_package_than_the_pinned_one():
    data, integrity = package({demo.MEMBERS["module"]: b"export {}", demo.MEMBERS["wasm"]: b"\0asm"})
    with pytest.raises(ValueError, match=f"{demo.PACKAGE} arrived as {re.escape(integrity)} where .* is pinned; it is not used"):
        demo.unpack(data)


def test_says_what_a_package_lacks():
    data, integrity = package({demo.MEMBERS["module"]: b"export {}"})
    with pytest.raises(ValueError, match=f"lacks a file .*{re.escape(demo.MEMBERS['wasm'])}"):
        demo.unpack(data, integrity)


def test_without_npm_one_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="npm is not installed"):
        demo.fetch()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A book of that one page, with the book's settings and what "python workflow/demo.py" has written."""
    about = demo.BUILT / "about.js"
    if not about.is_file():
        pytest.skip('the network and its runtime are not there; write them with "python workflow/demo.py"')
    assert format.sha256(demo.WEIGHTS) in about.read_text(), 'made of other weights; run "python workflow/demo.py" again'
    source = tmp_path_factory.mktemp("book")
    for name in ("try.md", "references.bib", "_config.yml"):
        shutil.copy(ROOT / "book" / name, source)
    shutil.copytree(ROOT / "book" / "extra", source / "extra")
    for name in ("_extensions", "_static"):
        (source / name).symlink_to(ROOT / "book" / name)
    (source / "_toc.yml").write_text("format: jb-book\nroot: try\n")
    done = subprocess.run([Path(sys.executable).with_name("jupyter-book"), "build", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return source / "_build" / "html"


@pytest.fixture
def page(browser):
    """An empty page that notes where its requests go."""
    page = browser.new_page()
    page.addresses = []
    page.on("request", lambda request: page.addresses.append(request.url))
    yield page
    page.close()


def status(page, pattern: re.Pattern | str) -> str:
    """The page's status, once it matches a pattern."""
    line = page.get_by_role("status").filter(has_text=re.compile(pattern))
    line.wait_for(timeout=120_000)
    return line.inner_text()


def mask(page) -> np.ndarray:
    """The mask that the page shows, bool (H, W)."""
    png = page.locator(".demo-mask").evaluate("canvas => canvas.toDataURL()").split(",")[1]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("L"))
    assert set(np.unique(shown)) <= {0, 255}
    return shown == 255


@pytest.fixture(scope="module")
def network():
    return weights.load(demo.WEIGHTS)


def drop(page, name: str, data: bytes) -> None:
    """Drop a file on the page."""
    page.get_by_role("group", name="A picture").wait_for()
    page.locator("fieldset:enabled .demo-drop").evaluate(
        """(target, [name, data]) => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
            target.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
        }""",
        [name, base64.b64encode(data).decode()],
    )


def png(pixels: np.ndarray) -> bytes:
    """A picture as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_the_page_computes_what_python_computes(site, page, network):
    page.goto((site / "try.html").as_uri())
    for name, image, _ in islice(synthetic.samples(), 3):
        name = name.split("_")[0]
        page.get_by_role("button", name=name).click()
        percent, width, height = MARKED.match(status(page, f"of {name}.png is marked")).groups()
        expected = predict(network, np.asarray(image.convert("RGB")))
        assert (mask(page) != expected).mean() < 0.01
        assert abs(float(percent) - 100 * expected.mean()) < 1 and (int(width), int(height)) == image.size
    assert {address.partition(":")[0] for address in page.addresses} <= {"file", "blob", "data"}


@pytest.mark.parametrize("height, width", [(72, 44), (8, 100)])  # (8, 100): padded by more than a reflection's length
def test_colour_and_padding_are_those_of_python(site, page, network, height, width):
    squares = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
    pixels = squares.repeat(4, 0).repeat(4, 1)
    page.goto((site / "try.html").as_uri())
    drop(page, "squares.png", png(pixels))
    status(page, "squares.png is marked")
    expected = predict(network, pixels)
    assert (mask(page) != expected).mean() < 0.01
    assert (predict(network, pixels[..., ::-1].copy()) != expected).mean() > 0.05, "the picture does not tell red from blue"
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download the mask").click()
    assert saved.value.suggested_filename == "squares-mask.png"
    assert np.array_equal(read_image(saved.value.path())[..., 0] == 255, mask(page))


def test_a_large_picture_is_scaled_to_the_side_asked_for(site, page):
    page.goto((site / "try.html").as_uri())
    page.get_by_label("Longer side").fill("96")
    drop(page, "large.png", png(np.full((150, 200), 128, np.uint8)))
    assert MARKED.match(status(page, "large.png is marked")).group(2, 3) == ("96", "72")
    page.get_by_label("Longer side").fill("128")
    page.get_by_label("Longer side").press("Enter")
    status(page, "at 128 × 96 pixels")


def test_a_file_that_is_no_picture(site, page):
    page.goto((site / "try.html").as_uri())
    drop(page, "notes.txt", b"no picture")
    assert status(page, "notes") == "notes.txt is not a picture that this browser can read; give a PNG or a JPEG."


def test_a_missing_model(site, page, tmp_path):
    without = shutil.copytree(site, tmp_path / "html")
    (without / "demo" / "built" / "model.js").unlink()
    page.goto((without / "try.html").as_uri())
    page.get_by_role("button", name="inclusion").click()
    assert status(page, "missing").startswith("demo/built/model.js is missing from this copy of the book;")


def test_a_book_built_without_the_runtime(site, page, tmp_path):
    without = shutil.copytree(site, tmp_path / "html", ignore=shutil.ignore_patterns("built"))
    page.goto((without / "try.html").as_uri())
    assert status(page, "built without").startswith("This copy of the book was built without the network and its runtime;")
    assert page.get_by_label("Choose a picture").is_disabled()
