"""Figures of the objective by trial, step, time, or another objective.

Each function takes the data and returns a figure, or None where there is nothing to show.
"""

from __future__ import annotations

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hrm_sweep import formatting
from hrm_sweep.report.data import Data
from hrm_sweep.report.style import BAD, BEST, BLUE, FAINT, MANY, as_objective, new_figure
from hrm_sweep.runs.outcomes import Outcome


def history(data: Data) -> Figure | None:
    """Draw the objective of each trial in the order of numbers, and the best so far."""
    if not data.ranked:
        return None
    figure, axes = new_figure()
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
    figure, axes = new_figure()
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


def cost(data: Data) -> Figure | None:
    """Draw the objective by the time that a trial took."""
    runs = [run for run in data.ranked if run.seconds > 0]
    if len(runs) < 2:
        return None
    figure, axes = new_figure()
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
    figure, axes = new_figure()
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
