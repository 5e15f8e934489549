"""Figures of the objective by trial, step, time, or another objective.

Each function takes the data and returns a figure, or None where there is nothing to show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hrm_sweep import formatting
from hrm_sweep.report.data import Data, Scale
from hrm_sweep.report.line_labels import FEW, End, label_ends
from hrm_sweep.report.param_axes import place_numbers
from hrm_sweep.report.style import (
    BAD,
    BEST,
    BLUE,
    COLOURS,
    FAINT,
    HEIGHT,
    MANY,
    WIDTH,
    MarkedFigure,
    as_metric,
    as_objective,
    gapped,
    new_figure,
    word,
)
from hrm_sweep.runs.run import Run

LONGEST = 30
"""Letters beside the end of a line; a longer name is that of the trial alone."""


def history(data: Data) -> Figure | None:
    """Draw the objective of each trial in the order of numbers, and the best so far.

    Below it stands the tie breaker of the best trials, where it decides between them.
    """
    if not data.ranked:
        return None
    panels = 2 if data.tied else 1
    figure, grid = new_figure(
        height=HEIGHT * (1.4 if data.tied else 1), grid=(panels, 1), squeeze=False, sharex=True,
        height_ratios=(2, 1)[:panels],
    )  # fmt: skip
    axes, lowest = grid[0, 0], grid[-1, 0]
    _points(figure, axes, data, data.complete, data.objective)
    axes.step(*data.so_far, where="post", color=BEST, linewidth=1.6, label="best so far")
    _best_point(axes, data, data.objective)
    if data.pruned:
        draw_pruned(figure, axes, data, [run.number or 0 for run, _ in data.pruned])
    if data.failed:
        numbers = [run.number or 0 for run in data.failed]
        axes.plot(numbers, [0.02] * len(numbers), "x", color=BAD, markersize=5, label="failed",
                  transform=axes.get_xaxis_transform())  # fmt: skip
    as_objective(axes, data)
    if data.tied:
        _tie(figure, lowest, data)
    lowest.set_xlabel("trial")
    lowest.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.legend(fontsize=8, loc="outside upper right", ncols=4)
    return figure


def curves(data: Data) -> Figure | None:
    """Draw the objective by step of all trials, with the best one marked.

    A few have a colour and a name each; of many a page says which is under the pointer.
    """
    if not data.curves:
        return None
    figure, axes = new_figure()
    is_few = len(data.curves) <= FEW
    ends = _few_curves(axes, data) if is_few else _many_curves(axes, data)
    axes.set_xlabel("step")
    as_objective(axes, data)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    label_ends(axes, ends)
    if not is_few and axes.lines:
        figure.legend(fontsize=8, loc="outside upper right")
    for number in _best_first(data)[:MANY]:
        figure.mark_line(axes, data, number, *gapped(data.curves[number]))
    return figure


def _few_curves(axes: Axes, data: Data) -> list[End]:
    """Draw each curve in a colour of its own, and return the words for their ends."""
    best = data.best.number if data.best else None
    colours = cycle(colour for colour in COLOURS if colour != BEST)
    ends = []
    for number, curve in data.curves.items():
        is_best = number == best
        colour, width = (BEST, 2.2) if is_best else (next(colours), 1.4)
        steps, values = gapped(curve)
        axes.plot(steps, values, color=colour, linewidth=width, marker=".", zorder=2 + is_best)
        last = [value for value in values if math.isfinite(value)][-1:]
        text = data.describe(number).rpartition(" · ")[0]
        text = text if len(text) <= LONGEST else f"trial {number}"
        ends += [End(value, text, colour, is_best) for value in last]
    return ends


def _many_curves(axes: Axes, data: Data) -> list[End]:
    """Draw the best curve before all others, which look the same."""
    best = data.best.number if data.best else None
    others = (curve for number, curve in data.curves.items() if number != best)
    lines = [list(zip(*gapped(curve), strict=True)) for curve in others]
    alpha = 0.7 if len(lines) < 20 else max(0.06, 6 / len(lines))
    axes.add_collection(
        LineCollection(lines, colors=BLUE, linewidths=1, alpha=alpha, rasterized=len(lines) > MANY)
    )
    if best in data.curves:
        axes.plot(*gapped(data.curves[best]), color=BEST, linewidth=2.2,
                  label=f"trial {best}, the best")  # fmt: skip
    axes.autoscale_view()
    return []


def cost(data: Data) -> Figure | None:
    """Draw the objective by the time that a trial took."""
    runs = [run for run in data.ranked if run.seconds > 0]
    if len(runs) < 2:
        return None
    figure, axes = new_figure()
    seconds = [run.seconds for run in runs]
    values = [run.values[data.objective] for run in runs]
    many = len(runs) > MANY
    axes.plot(
        seconds, values, "o", color=BLUE, markeredgewidth=0,
        markersize=2.5 if many else 5, alpha=0.4 if many else 0.8, rasterized=many,
    )  # fmt: skip
    axes.plot(seconds[0], values[0], "o", color=BEST, markersize=7)
    figure.mark_points(axes, data, runs, seconds, values)
    scale = Scale(is_log=max(seconds) > 8 * min(seconds))
    place_numbers(axes, seconds, scale, inches=WIDTH - 0.9, text=_duration)
    axes.set_xlabel("time of a trial")
    as_objective(axes, data)
    return figure


def pareto(data: Data) -> Figure | None:
    """Two objectives against each other, with the front."""
    if len(data.study.objective_names) < 2 or not data.ranked:
        return None
    figure, axes = new_figure()
    one, two = data.study.objective_names[:2]
    xs, ys = ([run.values[name] for run in data.ranked] for name in (one, two))
    best = sorted((run.values[one], run.values[two]) for run in data.front)
    axes.plot(xs, ys, "o", color=BLUE, alpha=0.5, markersize=4, markeredgewidth=0,
              rasterized=len(xs) > MANY)  # fmt: skip
    if best:
        axes.plot(*zip(*best, strict=True), "o-", color=BEST, linewidth=1.2, label="Pareto front")
        axes.legend(fontsize=8)
    figure.mark_points(axes, data, data.ranked, xs, ys)
    axes.set_xlabel(word(one))
    axes.set_ylabel(word(two))
    return figure


def _points(figure: MarkedFigure, axes: Axes, data: Data, runs: list[Run], metric: str) -> None:
    """Draw a metric of some trials by their number."""
    numbers = [run.number or 0 for run in runs]
    values = [run.values.get(metric, math.nan) for run in runs]
    many = len(values) > MANY
    axes.plot(
        numbers, values, "o", color=BLUE, markersize=2.5 if many else 5, alpha=0.4 if many else 0.9,
        rasterized=many, label="complete", markeredgewidth=0,
    )  # fmt: skip
    figure.mark_points(axes, data, runs, numbers, values)


def _best_point(axes: Axes, data: Data, metric: str) -> None:
    """Mark the best trial among those by number."""
    assert data.best is not None
    value = data.best.values.get(metric, math.nan)
    axes.plot(data.best.number or 0, value, "o", color=BEST, markersize=7)


def draw_pruned(figure: MarkedFigure, axes: Axes, data: Data, xs: Sequence[float]) -> None:
    """Draw where pruned trials were when they ended, at these places of `data.pruned`."""
    runs, values = zip(*data.pruned, strict=True)
    axes.plot(xs, values, "o", color=FAINT, markersize=3, label="pruned",
              rasterized=len(runs) > MANY, alpha=0.6, markeredgewidth=0)  # fmt: skip
    figure.mark_points(axes, data, runs, xs, values)


def _tie(figure: MarkedFigure, axes: Axes, data: Data) -> None:
    """Draw what decides between equal trials, of these alone."""
    name = data.study.tie_breaker or ""
    _points(figure, axes, data, data.tied, name)
    axes.lines[0].set_label("")
    _best_point(axes, data, name)
    as_metric(axes, data.study.app.metrics, name)
    axes.set_title("equally good; the lower one is the best", fontsize=8, loc="left")


def _duration(seconds: float) -> str:
    return formatting.format_duration(seconds) if seconds >= 1 else f"{seconds:.1g} s"


def _best_first(data: Data) -> list[int]:
    """Return the trials that have a curve, those that are complete first, by rank."""
    ranked = [run.number or 0 for run in data.ranked]
    return [number for number in dict.fromkeys([*ranked, *data.curves]) if number in data.curves]
