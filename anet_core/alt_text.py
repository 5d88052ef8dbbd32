"""A figure in words, for readers who do not see it; made of what was drawn, so that it cannot go stale."""

import re

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

NAMES = 30  # names that one chart lists, at most
NUMBER = re.compile(r"[-−+\d.,e\s]*%?|\$.*\$")  # what ticks of a scale say


def describe(figure: Figure) -> str:
    """Alt text: what set_label of the figure said, then pictures by rows and columns, or each chart in words; "" if it has none."""
    parts = [figure.get_label() or figure.get_suptitle()]
    if all(axes.images for axes in figure.axes):
        rows, columns = words(axes.yaxis.label for axes in figure.axes), words(axes.title for axes in figure.axes)
        named = "; ".join(filter(None, (", ".join(rows), ", ".join(columns))))
        parts.append(named and f"Pictures: {named}")
    else:
        parts += map(chart, figure.axes)
        parts.append(", ".join(words(text for legend in figure.legends for text in legend.texts)))
    return ". ".join(filter(None, parts)) + "." * any(parts)


def chart(axes: Axes) -> str:
    """One chart: "title: y (its range) against x (its range); the names in it"."""
    legend = axes.get_legend()
    names = words([*(legend.texts if legend else ()), *axes.texts])
    listed = ", ".join(names[:NAMES]) + f" and {len(names) - NAMES} more" * (len(names) > NAMES)
    scales = (scale(axes.yaxis, axes.dataLim.intervaly), scale(axes.xaxis, axes.dataLim.intervalx))
    content = "; ".join(filter(None, (" against ".join(filter(None, scales)), listed)))
    return ": ".join(filter(None, (axes.get_title(), content)))


def scale(axis: Axis, ends: tuple[float, float]) -> str:
    """An axis: its label, and its categories or the range of what is drawn."""
    categories = [name for name in words(axis.get_ticklabels()) if not NUMBER.fullmatch(name)]
    drawn = ", ".join(categories) or (f"{ends[0]:.4g} to {ends[1]:.4g}" if ends[0] <= ends[1] else "")
    label = axis.label.get_text()
    return f"{label} ({drawn})" if label and drawn else label or ", ".join(categories)


def words(texts: list[Text]) -> list[str]:
    """What texts say, each once, without the empty ones."""
    return list(dict.fromkeys(filter(None, (text.get_text().replace("\n", " ").strip() for text in texts))))
