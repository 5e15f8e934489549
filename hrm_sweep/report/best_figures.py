"""Figures with a row for each of the best trials.

Each function takes the data and returns a figure, or None where there is nothing to show.
"""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from hrm_sweep import formatting
from hrm_sweep.report.data import Data
from hrm_sweep.report.style import BEST, BLUE, COLOURS, INK, as_objective, new_figure, word
from hrm_sweep.runs.run import Run

TOP = 12
"""Trials in a figure that has a row for each."""


def parts(data: Data) -> Figure | None:
    """Draw the parts of the objective (such as one for each pattern) of the best trials."""
    if len(data.parts) < 2:
        return None
    runs = data.ranked[:TOP][::-1]
    figure, axes = new_figure(rows=len(runs) * 1.6)
    height = 0.8 / len(data.parts)
    for index, name in enumerate(data.parts):
        places = [row + 0.4 - height * (index + 0.5) for row in range(len(runs))]
        shown = [run.values.get(name, math.nan) for run in runs]
        axes.barh(places, shown, height=height * 0.9, color=COLOURS[index % len(COLOURS)],
                  label=word(formatting.metric_label(name), 24))  # fmt: skip
    axes.set_yticks(range(len(runs)), [_trial_label(data, run) for run in runs], fontsize=8)
    as_objective(axes, data, "x")
    figure.legend(fontsize=8, loc="outside upper right", ncols=min(4, len(data.parts)))
    return figure


def repeats(data: Data) -> Figure | None:
    """Every repeat of the best trials, with mean and standard deviation."""
    runs = [run for run in data.ranked if len(run.repeats) > 1][:TOP][::-1]
    if not runs:
        return None
    figure, axes = new_figure(rows=len(runs))
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


def _trial_label(data: Data, run: Run) -> str:
    point = formatting.format_point(data.study.params(run))
    return f"{run.number}  {point if len(point) <= 34 else ''}".strip()
