import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from data_prep import format

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def draw(folder: Path, images: int = 8, width: int = 64, height: int = 64) -> Path:
    """A small data set: dark squares on grey noise."""
    rng = np.random.default_rng(0)

    def samples():
        for i in range(images):
            image = rng.integers(120, 140, (height, width)).astype(np.uint8)
            mask = np.zeros((height, width), np.uint8)
            row, column = rng.integers(0, height - 16), rng.integers(0, width - 16)
            image[row : row + 16, column : column + 16] -= 80
            mask[row : row + 16, column : column + 16] = 255
            yield f"square {i}", Image.fromarray(image), Image.fromarray(mask)

    format.write(folder, samples(), test=max(1, images // 4))
    return folder


@pytest.fixture
def squares(tmp_path):
    """A folder in the data set format: eight pictures of 64x64, two of them for testing."""
    return draw(tmp_path / "squares")


@pytest.fixture(scope="session")
def browser():
    """The machine's Chromium; Playwright starts once a process."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; with Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()
