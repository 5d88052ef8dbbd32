import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

from anet_core import figures
from anet_core.alt_text import NAMES, describe


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_a_chart_is_told_by_its_axes_their_range_and_its_names():
    axes = figures.loss_curves([
        {"protocol": "printed", "losses": [1.5] * 40}, {"protocol": "tuned", "losses": [1.25] * 40},
    ])
    axes.set_title("Training")
    assert describe(axes.figure) == "Training: loss (1.25 to 1.5) against iteration (1 to 40); printed, tuned."
    axes.figure.legend(["a rate"])
    assert describe(axes.figure).endswith("printed, tuned. a rate.")


def test_categories_stand_for_their_range():
    _, axes = plt.subplots()
    axes.barh(["A-Net", "ENet"], [4, 8])
    axes.set(xlabel="milliseconds")
    assert describe(axes.figure) == "A-Net, ENet against milliseconds (0 to 8)."


def test_pictures_are_told_by_their_rows_and_columns():
    black = np.zeros((2, 8, 8))
    assert describe(figures.grid({"image": black, "mask": black}, ("In_1", "In_2"))) == "Pictures: image, mask; In_1, In_2."
    assert describe(figures.grid({"": black}, ("", ""))) == ""  # which the test of the site refuses


def test_a_figure_can_say_what_it_is_and_lists_no_end_of_names():
    figure, axes = plt.subplots()
    figure.set_label("The network")
    for i in range(NAMES + 5):
        axes.text(0, i, f"block {i}")
    axes.axis("off")
    words = describe(figure)
    assert words.startswith("The network. ") and words.endswith(f"block {NAMES - 1} and 5 more.")


def test_a_notebook_holds_the_description_beside_the_picture():
    _, axes = plt.subplots()
    axes.set(xlabel="epoch")
    assert DisplayFormatter().format(axes.figure)[0]["text/plain"] == describe(axes.figure) == "epoch."
