"""Figures of one run: its metrics by step."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hrm_sweep.report.line_labels import FEW, End, label_ends
from hrm_sweep.report.style import COLOURS, as_metric, drawing, gapped, new_figure, word
from hrm_sweep.runs.run import Run

MOST_FIGURES = 12
Curves = Mapping[str, Mapping[int, float]]


def drawn(run: Run) -> dict[str, tuple[str, Figure]]:
    """Return title and figure by file name: metrics of one name, such as train/loss and eval/loss.

    Those that the app puts first come first. A trial with repeats shows its repeats.
    """
    runs = [_curves(each) for each in run.repeats or [run]]
    names = list(dict.fromkeys(name for curves in runs for name in curves))
    chosen = [name for name in run.app.curves if name in names]
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys([*chosen, *names]):
        groups.setdefault(name.partition("/")[2] or name, []).append(name)
    found = {}
    with drawing():
        for number, (title, members) in enumerate(list(groups.items())[:MOST_FIGURES]):
            file_name = re.sub(r"[^\w.-]+", "_", f"{number} {title}")[:60]
            found[file_name] = (word(title), _draw(run, runs, members))
    return found


def _curves(run: Run) -> Curves:
    """Return the curves of a run by metric; a single measurement is none."""
    curves: dict[str, dict[int, float]] = {}
    for step, values in sorted(run.curves.items()):
        for name, value in values.items():
            curves.setdefault(name, {})[step] = value
    return {name: curve for name, curve in curves.items() if len(curve) > 1}


def _draw(run: Run, runs: Sequence[Curves], names: Sequence[str]) -> Figure:
    figure, axes = new_figure(height=2.6)
    ends = []
    for index, name in enumerate(names):
        colour = COLOURS[index % len(COLOURS)]
        for curves in runs:
            if name in curves:
                steps, values = gapped(curves[name])
                axes.plot(steps, values, color=colour, linewidth=1.4, marker=".", markersize=3)
                ends.append(End(values[-1], word(name, 30), colour, is_best=False))
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    as_metric(axes, run.app.metrics, names[0])
    axes.set_ylabel("")  # the title has the name
    labels = {end.text: end for end in ends}  # repeats have one between them
    if 1 < len(labels) <= FEW:
        label_ends(axes, list(labels.values()))
    return figure
