"""Figures of the objective by the searched parameters.

Each function takes the data and returns a figure, or None where there is nothing to show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from hrm_sweep import formatting
from hrm_sweep.report.data import Data, Scale
from hrm_sweep.report.param_axes import FEW, heights_of, name_each, order_of, place
from hrm_sweep.report.style import (
    BEST,
    BLUE,
    INK,
    MANY,
    SCALE,
    WIDTH,
    MarkedFigure,
    as_metric,
    new_figure,
    word,
)
from hrm_sweep.report.trial_figures import draw_pruned
from hrm_sweep.runs.run import Run
from hrm_sweep.search.importance import importances
from hrm_sweep.search.values import Value

MARGIN = 0.75
"""Inches beside the axes of a figure, for words."""
LONGEST = 24
"""Letters of a name or a value that stands beside others."""


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
    bars = axes.barh(range(len(names)), [shares[name] for name in names], color=BLUE, height=0.6)
    axes.set_yticks(range(len(names)), [word(name, LONGEST) for name in names])
    axes.bar_label(bars, [f"{shares[name]:.0%}" for name in names], padding=3, color=INK)
    axes.set_xlim(0, 1.15 * max(shares.values()))
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    if data.pruned:
        said = f"among {len(values)} complete trials; {len(data.pruned)} pruned ones do not count"
        axes.set_title(said, fontsize=8, loc="left")
    return figure


def slices(data: Data) -> Figure | None:
    """Draw the objective by each parameter; of pruned trials what it was at last.

    Where the tie breaker decides between the best trials, it has panels of its own, of these alone.
    """
    params = data.columns([*data.ranked, *(run for run, _ in data.pruned)])
    if not params or data.best is None:
        return None
    columns = min(2, len(params))
    rows = math.ceil(len(params) / columns)
    metrics = [(data.objective, data.ranked)]
    if data.tied:
        metrics.append((data.study.tie_breaker or "", data.tied))
    panels = rows * len(metrics)
    figure, grid = new_figure(
        height=max(2.2, 2.1 * panels), grid=(panels, columns), squeeze=False, sharey="row"
    )
    for index, (metric, runs) in enumerate(metrics):
        part = grid[index * rows : (index + 1) * rows]
        for axes, name in zip(part.flat, params, strict=False):
            x = place(axes, params[name], data.scale(name), inches=WIDTH / columns - MARGIN)
            _slice(figure, axes, data, metric, runs, x)
            axes.set_xlabel(word(name))
        for axes in part[:, 0]:
            as_metric(axes, data.study.app.metrics, metric)
        for axes in list(part.flat)[len(params) :]:
            axes.set_visible(False)
    if data.tied:
        grid[rows, 0].set_title("equally good; the lower one is the best", fontsize=8, loc="left")
    return figure


def _slice(
    figure: MarkedFigure, axes: Axes, data: Data, metric: str, runs: list[Run], x: list[float]
) -> None:
    """Draw a metric of some trials by one parameter; of the objective also pruned trials.

    Args:
        runs: the first of `data.ranked`.
        x: where the values of all that are ranked stand, then those of pruned trials.
    """
    if metric == data.objective and data.pruned:
        draw_pruned(figure, axes, data, x[len(data.ranked) :])
    many = len(runs) > MANY
    y = [run.values.get(metric, math.nan) for run in runs]
    axes.plot(
        x[: len(runs)], y, "o", color=BLUE, markersize=2.5 if many else 5, markeredgewidth=0,
        alpha=0.35 if many else 0.8, rasterized=many,
    )  # fmt: skip
    axes.plot(x[0], y[0], "o", color=BEST, markersize=7)
    figure.mark_points(axes, data, runs, x[: len(runs)], y)


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
    name_each(axes, [word(formatting.format_param(x)) for x in xs], inches=WIDTH - MARGIN)
    axes.set_yticks(range(len(ys)), [word(formatting.format_param(y), LONGEST) for y in ys])
    axes.set_xlabel(word(along))
    axes.set_ylabel(word(down))
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
    columns: list[Sequence[Value]] = [*data.params.values(), data.values]
    scales = [*map(data.scale, data.params), Scale()]
    heights = np.array(list(map(heights_of, columns, scales)))
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
    for index, run in enumerate(data.ranked[:MANY]):
        figure.mark_line(axes, data, run.number or 0, range(len(names)), heights[:, index].tolist())
    axes.set_xlim(-0.15, len(names) - 0.85)
    axes.set_ylim(-0.16, 1.12)
    name_each(axes, [word(name.rpartition(".")[2] or name) for name in names], inches=WIDTH)
    axes.yaxis.set_visible(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    for index, (column, scale) in enumerate(zip(columns, scales, strict=True)):
        axes.axvline(index, ymin=0.125, ymax=0.906, color=INK, linewidth=0.5, alpha=0.5)
        is_objective = index == len(names) - 1
        as_value = partial(data.study.app.metrics.value, data.objective)
        text = as_value if is_objective else formatting.format_param
        _name_values(axes, index, column, scale, text)
    return figure


def _name_values(
    axes: Axes, place: int, column: Sequence[Any], scale: Scale, text: Callable[[Any], str]
) -> None:
    """Write the ends of a parallel axis, and between them what else is among a few values."""
    values: list[Any] = sorted(scale.bounds or set(column), key=order_of)
    if len(values) > FEW:
        values = [values[0], values[-1]]
    heights = heights_of(values, scale)
    below, above = {"xytext": (0, -4), "va": "top"}, {"xytext": (0, 3), "va": "bottom"}
    last = -1.0
    for value, height in zip(values, heights, strict=True):
        is_end = height in (heights[0], heights[-1])
        if not is_end and (height - last < 0.07 or heights[-1] - height < 0.07):
            continue  # no room between its neighbours
        last = height
        beside: Any = {"xytext": (4, 0), "va": "center", "ha": "left"}
        if is_end:
            beside = {"ha": "center", **(below if height == heights[0] else above)}
        axes.annotate(
            word(text(value), LONGEST), (place, height), textcoords="offset points", fontsize=7.5,
            **beside,
        )  # fmt: skip
