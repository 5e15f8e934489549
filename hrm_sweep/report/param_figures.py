"""Figures of the objective by the searched parameters.

Each function takes the data and returns a figure, or None where there is nothing to show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from hrm_sweep import formatting
from hrm_sweep.report.data import Data
from hrm_sweep.report.param_axes import heights_of, name_each, order_of, place
from hrm_sweep.report.style import BEST, BLUE, INK, MANY, SCALE, WIDTH, as_objective, new_figure
from hrm_sweep.search.importance import importances
from hrm_sweep.search.values import Value

MARGIN = 0.75
"""Inches beside the axes of a figure, for words."""


def importance(data: Data) -> Figure | None:
    """How much each parameter mattered."""
    values = [run.values[data.objective] for run in data.complete]
    shares = importances(
        data.points, values, direction=data.study.directions[0], space=data.distributions
    )
    if not shares:
        return None
    figure, axes = new_figure(rows=len(shares))
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
        x = place(axes, column, is_log=data.is_log(name), inches=WIDTH / columns - MARGIN)
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
    ys, xs = sorted(set(rows), key=order_of), sorted(set(columns), key=order_of)
    cells: dict[tuple[Value, Value], list[float]] = {}
    for row, column, value in zip(rows, columns, data.values, strict=True):
        cells.setdefault((row, column), []).append(value)
    if len(cells) < 0.6 * len(xs) * len(ys) or len(xs) * len(ys) > 400:
        return None
    table = np.array([[np.mean(cells.get((y, x), [np.nan])) for x in xs] for y in ys])
    figure, axes = new_figure(rows=len(ys) + 1)
    flip = "" if data.is_maximized else "_r"
    scale = SCALE if not flip else SCALE.reversed()
    axes.imshow(table, cmap=scale, aspect="auto", origin="lower")
    name_each(axes, [formatting.format_param(x) for x in xs], inches=WIDTH - MARGIN)
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
    figure, axes = new_figure()
    names = [*data.params, formatting.metric_label(data.objective)]
    everything: dict[str, Sequence[Value]] = {**data.params, names[-1]: data.values}
    heights = np.array(
        [heights_of(column, is_log=data.is_log(name)) for name, column in everything.items()]
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
    for index, (name, column) in enumerate(everything.items()):
        axes.axvline(index, ymin=0.125, ymax=0.906, color=INK, linewidth=0.5, alpha=0.5)
        low, high = _ends(name == names[-1], data, column)
        axes.text(index, -0.04, low, ha="center", va="top", fontsize=7.5)
        axes.text(index, 1.03, high, ha="center", va="bottom", fontsize=7.5)
    return figure


def _ends(is_objective: bool, data: Data, column: Sequence[Any]) -> tuple[str, str]:
    low, high = min(column, key=order_of), max(column, key=order_of)
    if is_objective:
        return data.study.app.metrics.value(data.objective, low), data.study.app.metrics.value(
            data.objective, high
        )
    return formatting.format_param(low), formatting.format_param(high)
