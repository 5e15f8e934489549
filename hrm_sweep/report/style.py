"""How figures look: colours, sizes, fonts, and the axis of a metric.

Ink has one colour of its own, which a page replaces to show it light on dark.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from hrm_sweep import formatting
from hrm_sweep.formatting import MetricFormat, shorten_middle
from hrm_sweep.report.data import Data
from hrm_sweep.runs.run import Run

INK = "#010101"
"""Axes and words; a page replaces it by its own colour of text."""
BLUE, BEST, BAD, FAINT = "#3d8fd1", "#d55e00", "#d6455d", "#8b95a1"
COLOURS = (BLUE, BEST, "#009e73", "#cc79a7", "#b08900", FAINT)
"""Of things that colour alone distinguishes."""
SCALE = LinearSegmentedColormap.from_list("worse to better", ["#9fb0c3", BLUE, BEST])
FONTS = (
    *("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC"),
    *("WenQuanYi Zen Hei", "Microsoft YaHei", "PingFang SC", "Arial Unicode MS"),
    *("Noto Emoji", "Segoe UI Symbol", "Symbola"),
)
"""The first comes with Matplotlib; the others, where they are, have letters that it lacks."""
STYLE: Any = {
    "font.size": 9,
    "font.family": [name for name in FONTS if name in fontManager.get_font_names()],
    "text.parse_math": False,  # a `$` in a name is a letter
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "figure.autolayout": False,  # a figure without a layout engine has none, whatever the user's
    "figure.constrained_layout.use": False,  # matplotlibrc says
}
WIDTH, HEIGHT = 5.4, 3.3
"""Inches; figures that need more height grow."""
MANY = 300
"""Lines or points from which a figure keeps them as a picture: a page of 2,000 stays light."""
LONGEST = 40
"""Letters of a name beside an axis; the middle of a longer one is left out."""


class Mark(NamedTuple):
    """A point or a line of a figure that stands for a trial, which a page can name."""

    axes: Axes
    xs: Sequence[float]
    ys: Sequence[float]
    trial: int
    text: str


class MarkedFigure(Figure):
    """A figure that knows where its trials are."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.marks: list[Mark] = []

    def mark_points(
        self, axes: Axes, data: Data, runs: Sequence[Run], xs: Sequence[float], ys: Sequence[float]
    ) -> None:
        """Mark a point for each trial, but only `MANY` of them: the first."""
        for run, x, y in list(zip(runs, xs, ys, strict=True))[:MANY]:
            self.mark_line(axes, data, run.number or 0, [x], [y])

    def mark_line(
        self, axes: Axes, data: Data, trial: int, xs: Sequence[float], ys: Sequence[float]
    ) -> None:
        """Mark the line of a trial; a line of one place is a point."""
        self.marks.append(Mark(axes, xs, ys, trial, data.describe(trial)))


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in our style, without a warning for each letter that no font here has.

    A browser has fonts of its own, and draws the words of a page with them.
    """
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def new_figure(
    *, rows: float = 0, height: float = HEIGHT, grid: tuple[int, int] = (1, 1), **settings: Any
) -> tuple[MarkedFigure, Any]:
    """Return a figure and its axes, an array if there are several.

    Args:
        rows: of text, with which its height grows; else it has `height`, in inches.
        grid: rows and columns of axes.
        settings: of `Figure.subplots`.
    """
    height = max(1.4, 0.7 + 0.27 * rows) if rows else height
    figure = MarkedFigure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(*grid, **settings)


def word(text: object, longest: int = LONGEST) -> str:
    """Return a name or a value in one line that has room in a figure."""
    return shorten_middle(" ".join(str(text).split()), longest)


def gapped(curve: Mapping[int, float]) -> tuple[list[int], list[float]]:
    """Return steps and values of a curve, with gaps for what is not finite."""
    return list(curve), [value if math.isfinite(value) else math.nan for value in curve.values()]


def as_objective(axes: Axes, data: Data, which: str = "y") -> None:
    """Make an axis that of the objective, as `as_metric` does."""
    as_metric(axes, data.study.app.metrics, data.objective, which)


def as_metric(axes: Axes, metrics: MetricFormat, name: str, which: str = "y") -> None:
    """Label an axis with a metric, a share in per cent, and set limits without outliers."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_label_text(word(formatting.metric_label(name)))
    axis.set_major_formatter(lambda value, _: metrics.value(name, value))
    if metrics.is_share(name):
        axis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
        low, high = axis.get_view_interval()
        low, high = max(low, -0.03), min(high, 1.03)
        limits = (low, high) if high - low > 0.1 else (-0.03, 1.03)
        (axes.set_ylim if which == "y" else axes.set_xlim)(limits)
    axes.grid(axis="y" if which == "y" else "x", color=INK, alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)
