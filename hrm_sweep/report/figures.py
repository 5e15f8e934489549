"""The figures of a report, by name."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from hrm_sweep.report import best_figures, param_figures, trial_figures
from hrm_sweep.report.data import Data
from hrm_sweep.report.style import drawing

Draw = Callable[[Data], Figure | None]

FIGURES: dict[str, tuple[str, Draw]] = {
    "pareto": ("Objectives against each other", trial_figures.pareto),
    "history": ("Optimization history", trial_figures.history),
    "curves": ("Learning curves", trial_figures.curves),
    "importance": ("Parameter importance", param_figures.importance),
    "slices": ("Each parameter", param_figures.slices),
    "heat_map": ("Both parameters", param_figures.heat_map),
    "parallel": ("Parallel coordinates", param_figures.parallel),
    "parts": ("The parts of the objective", best_figures.parts),
    "repeats": ("Repeats", best_figures.repeats),
    "cost": ("Time", trial_figures.cost),
}
"""File name -> title, and what draws it; in the order of the page."""


def draw(data: Data, name: str) -> Figure | None:
    """Return one figure, such as `history`; None if it has nothing to show."""
    with drawing():
        return FIGURES[name][1](data)


def drawn(data: Data) -> dict[str, Figure]:
    """Return the figures that have something to show, by name."""
    figures = {name: draw(data, name) for name in FIGURES}
    return {name: figure for name, figure in figures.items() if figure is not None}
