"""The picture of several studies: learning curves of the bests, and the best so far by trial."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hrm_sweep.report.data import Data
from hrm_sweep.report.style import COLOURS, as_objective, drawing
from hrm_sweep.runs.study import Study
from hrm_sweep.system import files


def draw(studies: Sequence[Study], path: Path) -> None:
    """Write the PNG file `path`."""
    with drawing():
        figure = Figure(figsize=(10, 3.6), layout="constrained", facecolor="white")
        curves, history = figure.subplots(1, 2)
        drawn = [data for data in map(Data, studies) if data.best is not None]
        for data, colour in zip(drawn, cycle(COLOURS), strict=False):
            assert data.best is not None
            curve = data.curves.get(data.best.number or 0, {})
            label = f"{data.study.name}, trial {data.best.number}"
            curves.plot(list(curve), list(curve.values()), color=colour, label=label)
            history.step(*data.so_far, where="post", color=colour, marker="o", markersize=3)
        for axes, title, name in ((curves, "Best trials", "step"), (history, "So far", "trial")):
            as_objective(axes, drawn[0])  # fixes the limits, so everything is drawn before
            axes.set_title(title, loc="left", fontweight="bold")
            axes.set_xlabel(name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        figure.legend(loc="outside lower center", ncols=3)
        with files.replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
