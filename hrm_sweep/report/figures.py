"""The figures of a report.

Each function takes the data and returns a figure, or None where there is nothing to show. Ink has
one colour of its own, which a page replaces to show it light on dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hrm_sweep import formatting
from hrm_sweep.formatting import shorten_middle
from hrm_sweep.report.data import Data
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run
from hrm_sweep.search.importance import importances
from hrm_sweep.search.scale import is_numeric
from hrm_sweep.search.values import Value

INK = "#010101"
"""Axes and words; a page replaces it by its own colour of text."""
BLUE, BEST, BAD, FAINT = "#3d8fd1", "#d55e00", "#d6455d", "#8b95a1"
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
MARGIN = 0.75
"""Inches beside the axes of a figure, for words."""
LETTER = 0.075
"""Inches of one, on the average."""
LONGEST = 14
"""Letters of a name that stands aslant; the middle of a longer one is left out."""
FEW = 6
"""Values of a parameter that are marked each."""
TOP = 12
"""Trials in a figure that has a row for each."""

Draw = Callable[[Data], Figure | None]


def history(data: Data) -> Figure | None:
    """Draw the objective of each trial in the order of numbers, and the best so far."""
    if not data.ranked:
        return None
    figure, axes = _figure()
    numbers = [run.number or 0 for run in data.complete]
    values = np.array([run.values[data.objective] for run in data.complete])
    many = len(values) > MANY
    axes.plot(
        numbers, values, "o", color=BLUE, markersize=2.5 if many else 5, alpha=0.4 if many else 0.9,
        rasterized=many, label="complete", markeredgewidth=0,
    )  # fmt: skip
    axes.step(*data.so_far, where="post", color=BEST, linewidth=1.6, label="best so far")
    pruned = [run for run in data.study.trials if run.outcome is Outcome.PRUNED]
    last = [(run.number, curve[max(curve)]) for run in pruned
            if (curve := data.curves.get(run.number or 0))]  # fmt: skip
    if last:
        axes.plot(*zip(*last, strict=True), "o", color=FAINT, markersize=3, label="pruned",
                  rasterized=many, alpha=0.6, markeredgewidth=0)  # fmt: skip
    if data.failed:
        numbers = [run.number or 0 for run in data.failed]
        axes.plot(numbers, [0.02] * len(numbers), "x", color=BAD, markersize=5, label="failed",
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_xlabel("trial")
    as_objective(axes, data)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.legend(fontsize=8, loc="outside upper right", ncols=4)
    return figure


def curves(data: Data) -> Figure | None:
    """Draw the objective by step of all trials, with the best one marked."""
    if not data.curves:
        return None
    figure, axes = _figure()
    best = data.best.number if data.best else None
    lines = [list(curve.items()) for number, curve in data.curves.items() if number != best]
    faint = 0.7 if len(lines) < 20 else max(0.06, 6 / len(lines))
    axes.add_collection(
        LineCollection(lines, colors=BLUE, linewidths=1, alpha=faint, rasterized=len(lines) > MANY)
    )
    if best in data.curves:
        curve = data.curves[best]
        axes.plot(list(curve), list(curve.values()), color=BEST, linewidth=2.2,
                  label=f"trial {best}, the best")  # fmt: skip
        figure.legend(fontsize=8, loc="outside upper right")
    axes.autoscale_view()
    axes.set_xlabel("step")
    as_objective(axes, data)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def importance(data: Data) -> Figure | None:
    """How much each parameter mattered."""
    values = [run.values[data.objective] for run in data.complete]
    shares = importances(
        data.points, values, direction=data.study.directions[0], space=data.distributions
    )
    if not shares:
        return None
    figure, axes = _figure(rows=len(shares))
    names = list(shares)[::-1]
    bars = axes.barh(names, [shares[name] for name in names], color=BLUE, height=0.6)
    axes.bar_label(bars, [f"{shares[name]:.0%}" for name in names], padding=3, color=INK)
    axes.set_xlim(0, 1.15 * max(shares.values()))
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return figure


def slices(data: Data) -> Figure | None:
    """Draw the objective by each parameter."""
    if not data.params:
        return None
    columns = min(2, len(data.params))
    rows = math.ceil(len(data.params) / columns)
    figure = Figure(figsize=(WIDTH, max(2.2, 2.1 * rows)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, (name, column) in zip(grid.flat, data.params.items(), strict=False):
        many = len(column) > MANY
        x = _placed(axes, column, is_log=data.is_log(name), inches=WIDTH / columns - MARGIN)
        axes.plot(
            x, data.values, "o", color=BLUE, markersize=2.5 if many else 5, markeredgewidth=0,
            alpha=0.35 if many else 0.8, rasterized=many,
        )  # fmt: skip
        axes.plot(x[0], data.values[0], "o", color=BEST, markersize=7)
        axes.set_xlabel(name)
    for axes in grid[:, 0]:
        as_objective(axes, data)
    for axes in list(grid.flat)[len(data.params) :]:
        axes.set_visible(False)
    return figure


def heat_map(data: Data) -> Figure | None:
    """Draw the objective over two parameters that make a grid, with the mean at equal points."""
    if len(data.params) != 2:
        return None
    (down, rows), (along, columns) = data.params.items()
    ys, xs = sorted(set(rows), key=_order), sorted(set(columns), key=_order)
    cells: dict[tuple[Value, Value], list[float]] = {}
    for row, column, value in zip(rows, columns, data.values, strict=True):
        cells.setdefault((row, column), []).append(value)
    if len(cells) < 0.6 * len(xs) * len(ys) or len(xs) * len(ys) > 400:
        return None
    table = np.array([[np.mean(cells.get((y, x), [np.nan])) for x in xs] for y in ys])
    figure, axes = _figure(rows=len(ys) + 1)
    flip = "" if data.is_maximized else "_r"
    scale = SCALE if not flip else SCALE.reversed()
    axes.imshow(table, cmap=scale, aspect="auto", origin="lower")
    _name_each(axes, [formatting.format_param(x) for x in xs], inches=WIDTH - MARGIN)
    axes.set_yticks(range(len(ys)), [formatting.format_param(y) for y in ys])
    axes.set_xlabel(along)
    axes.set_ylabel(down)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if table.size <= 100:
        for (row, column), value in np.ndenumerate(table):
            if np.isfinite(value):
                text = data.study.app.metrics.value(data.objective, float(value))
                axes.text(column, row, text, ha="center", va="center",
                          fontsize=8, color="#ffffff", fontweight="bold")  # fmt: skip
    return figure


def parallel(data: Data) -> Figure | None:
    """Each trial as a line through its parameters to its objective."""
    if len(data.params) < 2 or len(data.ranked) < 3:
        return None
    figure, axes = _figure()
    names = [*data.params, formatting.metric_label(data.objective)]
    everything: dict[str, Sequence[Value]] = {**data.params, names[-1]: data.values}
    heights = np.array(
        [_heights(column, is_log=data.is_log(name)) for name, column in everything.items()]
    )
    goodness = heights[-1] if data.is_maximized else 1 - heights[-1]
    order = np.argsort(goodness)
    lines = [list(enumerate(heights[:, trial])) for trial in order]
    axes.add_collection(
        LineCollection(
            lines,
            colors=SCALE(goodness[order]),
            linewidths=1,
            alpha=1 if len(lines) < 30 else max(0.08, 12 / len(lines)),
            rasterized=len(lines) > MANY,
        )
    )
    axes.plot(range(len(names)), heights[:, 0], color=BEST, linewidth=2.4)
    axes.set_xlim(-0.15, len(names) - 0.85)
    axes.set_ylim(-0.16, 1.12)
    axes.set_xticks(range(len(names)), [name.rpartition(".")[2] for name in names])
    axes.yaxis.set_visible(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    for place, (name, column) in enumerate(everything.items()):
        axes.axvline(place, ymin=0.125, ymax=0.906, color=INK, linewidth=0.5, alpha=0.5)
        low, high = _ends(name == names[-1], data, column)
        axes.text(place, -0.04, low, ha="center", va="top", fontsize=7.5)
        axes.text(place, 1.03, high, ha="center", va="bottom", fontsize=7.5)
    return figure


def parts(data: Data) -> Figure | None:
    """Draw the parts of the objective (such as one for each pattern) of the best trials."""
    if len(data.parts) < 2:
        return None
    runs = data.ranked[:TOP][::-1]
    figure, axes = _figure(rows=len(runs) * 1.6)
    height = 0.8 / len(data.parts)
    colours = (BLUE, BEST, "#009e73", "#cc79a7", "#b08900", FAINT)
    for index, name in enumerate(data.parts):
        places = [row + 0.4 - height * (index + 0.5) for row in range(len(runs))]
        shown = [run.values.get(name, math.nan) for run in runs]
        axes.barh(places, shown, height=height * 0.9, color=colours[index % len(colours)],
                  label=formatting.metric_label(name))  # fmt: skip
    axes.set_yticks(range(len(runs)), [_trial_label(data, run) for run in runs], fontsize=8)
    as_objective(axes, data, "x")
    figure.legend(fontsize=8, loc="outside upper right", ncols=min(4, len(data.parts)))
    return figure


def repeats(data: Data) -> Figure | None:
    """Every repeat of the best trials, with mean and standard deviation."""
    runs = [run for run in data.ranked if len(run.repeats) > 1][:TOP][::-1]
    if not runs:
        return None
    figure, axes = _figure(rows=len(runs))
    for row, run in enumerate(runs):
        each = [repeat.values[data.objective] for repeat in run.repeats]
        axes.plot(each, [row] * len(each), "o", color=BLUE, markersize=4, alpha=0.6,
                  markeredgewidth=0)  # fmt: skip
        axes.errorbar(
            run.values[data.objective], row, xerr=run.values.get(f"{data.objective}/std", 0.0),
            fmt="o", color=BEST if run is runs[-1] else INK, capsize=3, markersize=4, linewidth=1.2,
        )  # fmt: skip
    axes.set_yticks(range(len(runs)), [_trial_label(data, run) for run in runs], fontsize=8)
    axes.set_ylim(-0.6, len(runs) - 0.4)
    as_objective(axes, data, "x")
    return figure


def cost(data: Data) -> Figure | None:
    """Draw the objective by the time that a trial took."""
    runs = [run for run in data.ranked if run.seconds > 0]
    if len(runs) < 2:
        return None
    figure, axes = _figure()
    seconds = [run.seconds for run in runs]
    many = len(runs) > MANY
    axes.plot(
        seconds, [run.values[data.objective] for run in runs], "o", color=BLUE, markeredgewidth=0,
        markersize=2.5 if many else 5, alpha=0.4 if many else 0.8, rasterized=many,
    )  # fmt: skip
    axes.plot(runs[0].seconds, runs[0].values[data.objective], "o", color=BEST, markersize=7)
    if max(seconds) > 8 * min(seconds):
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(
        lambda value, _: formatting.format_duration(value) if value >= 1 else f"{value:.1g} s"
    )
    axes.xaxis.set_minor_formatter(lambda *_: "")
    axes.set_xlabel("time of a trial")
    as_objective(axes, data)
    return figure


def pareto(data: Data) -> Figure | None:
    """Two objectives against each other, with the front."""
    if len(data.study.objective_names) < 2:
        return None
    figure, axes = _figure()
    one, two = data.study.objective_names[:2]
    everyone = [(run.values[one], run.values[two]) for run in data.ranked]
    best = sorted((run.values[one], run.values[two]) for run in data.front)
    axes.plot(*zip(*everyone, strict=True), "o", color=BLUE, alpha=0.5, markersize=4,
              markeredgewidth=0, rasterized=len(everyone) > MANY)  # fmt: skip
    axes.plot(*zip(*best, strict=True), "o-", color=BEST, linewidth=1.2, label="Pareto front")
    axes.set_xlabel(one)
    axes.set_ylabel(two)
    axes.legend(fontsize=8)
    return figure


FIGURES: dict[str, tuple[str, Draw]] = {
    "pareto": ("Objectives against each other", pareto),
    "history": ("Optimization history", history),
    "curves": ("Learning curves", curves),
    "importance": ("Parameter importance", importance),
    "slices": ("Each parameter", slices),
    "heat_map": ("Both parameters", heat_map),
    "parallel": ("Parallel coordinates", parallel),
    "parts": ("The parts of the objective", parts),
    "repeats": ("Repeats", repeats),
    "cost": ("Time", cost),
}
"""File name -> title, and what draws it; in the order of the page."""


def drawn(data: Data) -> dict[str, Figure]:
    """Return the figures that have something to show, by name."""
    with mpl.rc_context(STYLE):
        figures = {name: draw(data) for name, (_, draw) in FIGURES.items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _figure(*, rows: float = 0) -> tuple[Figure, Axes]:
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


def _placed(axes: Axes, column: Sequence[Value], *, is_log: bool, inches: float) -> list[float]:
    """Return the places of values along an axis, which becomes logarithmic or named as needed."""
    if is_numeric(column):
        numbers = [float(value) for value in column]  # type: ignore[arg-type]
        if is_log:
            axes.set_xscale("log")
        marks = _marks(column, is_log=is_log)
        axes.xaxis.set_ticks(marks, _with_room(marks, numbers, is_log=is_log, inches=inches))
        axes.xaxis.set_ticks([], minor=True)
        return numbers
    names = sorted(set(column), key=_order)
    _name_each(axes, [str(name) for name in names], inches=inches)
    return [float(names.index(value)) for value in column]


def _marks(column: Sequence[Any], *, is_log: bool) -> list[float]:
    """Where an axis is marked: at each of a few values, else at round numbers between them."""
    values = sorted(set(column))
    low, high = values[0], values[-1]
    if len(values) <= FEW:
        return values
    if is_log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        marks = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    else:
        marks = [float(f"{mark:.9g}") for mark in MaxNLocator(5).tick_values(low, high)]
    return [int(mark) if mark.is_integer() else mark for mark in marks if low <= mark <= high]


def _with_room(
    marks: Sequence[float], numbers: Sequence[float], *, is_log: bool, inches: float
) -> list[str]:
    """Return labels for the marks of an axis, empty where there is no room.

    The first and the last have precedence, then the shortest.
    """
    labels = [formatting.format_param(mark) for mark in marks]
    halves = [LETTER * (len(label) + 1) / 2 for label in labels]
    centres = inches * _heights([min(numbers), max(numbers), *marks], is_log=is_log)[2:]
    order = sorted(
        range(len(marks)), key=lambda index: (0 < index < len(marks) - 1, len(labels[index]))
    )
    kept: list[int] = []
    for index in order:
        gaps = [abs(centres[index] - centres[o]) - halves[index] - halves[o] for o in kept]
        if all(gap >= 0 for gap in gaps):
            kept.append(index)
    return [label if index in kept else "" for index, label in enumerate(labels)]


def _name_each(axes: Axes, names: Sequence[str], *, inches: float) -> None:
    """Label the places 0, 1, … with names, aslant where they have no room side by side."""
    if len(names) * LETTER * (max(map(len, names)) + 1) <= inches:
        axes.set_xticks(range(len(names)), names)
        return
    aslant: Any = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(names)), [shorten_middle(name, LONGEST) for name in names], **aslant)


def _heights(column: Sequence[Value], *, is_log: bool) -> np.ndarray:
    """Values of one axis between 0 and 1."""
    if not is_numeric(column):
        names = sorted(set(column), key=_order)
        return np.array([names.index(value) / max(1, len(names) - 1) for value in column])
    numbers = np.array(column, dtype=float)
    if is_log:
        numbers = np.log(numbers)
    span = numbers.max() - numbers.min()
    return (numbers - numbers.min()) / span if span else np.full(len(numbers), 0.5)


def _ends(is_objective: bool, data: Data, column: Sequence[Any]) -> tuple[str, str]:
    low, high = min(column, key=_order), max(column, key=_order)
    if is_objective:
        return data.study.app.metrics.value(data.objective, low), data.study.app.metrics.value(
            data.objective, high
        )
    return formatting.format_param(low), formatting.format_param(high)


def _trial_label(data: Data, run: Run) -> str:
    point = formatting.format_point(data.study.params(run))
    return f"{run.number}  {point if len(point) <= 34 else ''}".strip()


def _order(value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (0, value, "") if is_number else (1, 0, str(value))
