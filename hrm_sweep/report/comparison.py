"""The picture of studies and runs: learning curves, and the best so far of studies by trial."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hrm_sweep.report.data import Data, curve
from hrm_sweep.report.style import COLOURS, as_metric, drawing, gapped
from hrm_sweep.report.svg import save_png
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_names import label
from hrm_sweep.runs.study import Study

LINES = ("-", "--", ":")
"""Where there are more curves than colours."""


def draw(found: Sequence[Study | Run], path: Path, *, metric: str) -> None:
    """Write the PNG file `path`; of studies it shows the best trials.

    Args:
        metric: whose curves are drawn, and the best values so far of studies that have it as their
            objective.
    """
    with drawing():
        data = {study.folder: Data(study) for study in found if isinstance(study, Study)}
        has_history = any(each.kept and each.objective == metric for each in data.values())
        figure = Figure(figsize=(10, 3.6), layout="constrained", facecolor="white")
        curves, *history = figure.subplots(1, 2 if has_history else 1, squeeze=False)[0]
        drawn = []
        looks = cycle((colour, line) for line in LINES for colour in COLOURS)
        for one, (colour, line) in zip(found, looks, strict=False):
            run = one if isinstance(one, Run) else data[one.folder].best
            if run is None or not (measured := curve(run, metric)):
                continue
            drawn.append(run)
            width = max(1.0, 5.0 * 0.6 ** (len(drawn) - 1))  # of equal curves each is seen
            look: Any = {"color": colour, "linestyle": line, "linewidth": width}
            curves.plot(*gapped(measured), **look, label=label(run))
            if history and one.folder in data and data[one.folder].objective == metric:
                so_far = data[one.folder].so_far
                history[0].step(*so_far, where="post", color=colour, marker="o", markersize=3)
        shown = [(curves, "Curves", "step"), *((axes, "So far", "trial") for axes in history)]
        for axes, title, name in shown:
            app = drawn[0].app if drawn else found[0].app
            as_metric(axes, app.metrics, metric)  # fixes the limits: all is drawn before
            axes.set_title(title, loc="left", fontweight="bold")
            axes.set_xlabel(name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        figure.legend(loc="outside lower center", ncols=3)
    save_png(figure, path)
