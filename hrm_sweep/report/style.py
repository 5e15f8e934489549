"""How figures look: colours, sizes, and the axis of the objective.

Ink has one colour of its own, which a page replaces to show it light on dark.
"""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from hrm_sweep import formatting
from hrm_sweep.report.data import Data

INK = "#010101"
"""Axes and words; a page replaces it by its own colour of text."""
BLUE, BEST, BAD, FAINT = "#3d8fd1", "#d55e00", "#d6455d", "#8b95a1"
COLOURS = (BLUE, BEST, "#009e73", "#cc79a7", "#b08900", FAINT)
"""Of things that are told apart by colour alone."""
SCALE = LinearSegmentedColormap.from_list("worse to better", ["#9fb0c3", BLUE, BEST])
STYLE: Any = {
    "font.size": 9,
    "font.family": "sans-serif",
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
}
WIDTH, HEIGHT = 5.4, 3.3
"""Inches; figures that need more height grow."""
MANY = 300
"""Lines or points from which a figure keeps them as a picture: a page of 2,000 stays light."""


def new_figure(*, rows: float = 0) -> tuple[Figure, Axes]:
    """Return a figure; one with rows of text grows with them."""
    height = max(1.4, 0.7 + 0.27 * rows) if rows else HEIGHT
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def as_objective(axes: Axes, data: Data, which: str = "y") -> None:
    """Label an axis with the objective, a share in per cent, and set limits without outliers."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_label_text(formatting.metric_label(data.objective))
    axis.set_major_formatter(lambda value, _: data.study.app.metrics.value(data.objective, value))
    if data.study.app.metrics.is_share(data.objective):
        axis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
        low, high = axis.get_view_interval()
        low, high = max(low, -0.03), min(high, 1.03)
        limits = (low, high) if high - low > 0.1 else (-0.03, 1.03)
        (axes.set_ylim if which == "y" else axes.set_xlim)(limits)
    axes.grid(axis="y" if which == "y" else "x", color=INK, alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)
