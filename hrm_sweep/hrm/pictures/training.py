"""`training_metrics.png`: the learning curves of a run, drawn from its history without PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle, groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from hrm_sweep.hrm.pictures.grids import draw_predictions, predictions_figure, save
from hrm_sweep.hrm.training.phases import phase_label

__all__ = ["draw_predictions", "draw_training_metrics", "predictions_figure", "training_figure"]

TRAIN, EVAL, GOOD, BAD, RULE = "#8a8f98", "#16324f", "#0a7d4b", "#c1121f", "#e6e8ec"
# Okabe and Ito's colours for colour-blind readers, with a darker yellow
PATTERNS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b08900", "#56b4e9")
PHASE_SHADES = ("#f9dcd7", "#fdf0c4", "#dcefe2")
"""Behind the epochs of mode value, pattern recognition and specialization."""
SOLVED = 0.99
"""Exact match from which puzzles count as solved."""
WIDTH, HEIGHT, LABELS_A_ROW = 11, 7.4, 3
"""Size of the figure in inches; labels in a row of the legend."""
MARKED = 30
"""Largest number of epochs that are drawn as dots."""

History = Sequence[Mapping[str, Any]]


def draw_training_metrics(history: History, path: Path, *, best_epoch: int | None = None) -> None:
    """Write `training_figure` to the PNG file `path`."""
    figure = training_figure(history, best_epoch=best_epoch)
    save(figure, path)


def training_figure(history: History, *, best_epoch: int | None = None) -> Figure:
    """Return a figure of the metrics by epoch.

    It has four panels: exact match and token accuracy (overall and per pattern), loss and learning
    rate.

    Args:
        history: a mapping for each epoch: `epoch` and metrics by name. Values that are not finite
            (nan, None, "nan") leave a gap; epochs whose loss is not finite are marked.
        best_epoch: the epoch to mark; by default the first of the highest `eval/exact_match`.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=120, facecolor="white")
    (exact, tokens), (loss, rate) = figure.subplots(2, 2)
    best = _best_epoch(history) if best_epoch is None else best_epoch
    _plot_shares(exact, tokens, history)
    _line(loss, history, "train/loss", "training", TRAIN)
    _line(loss, history, "eval/loss", _held_out(history), EVAL, width=2.4)
    _line(rate, history, "optimizer/lr", "learning rate", EVAL)
    titles = ("Exact match", "Token accuracy", "Loss", "Learning rate")
    for axes, title in zip((exact, tokens, loss, rate), titles, strict=True):
        _finish(axes, title, history, best)
    _mark_divergence(loss, history)
    _mark_phases(exact, history)
    for axes in (exact, tokens):
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    for axes in figure.axes:
        _write_scales(axes)
    labels = _labels(exact, tokens, loss)
    if labels:
        figure.legend(
            labels.values(), labels.keys(), loc="lower center",
            ncols=min(LABELS_A_ROW, len(labels)), fontsize=9, frameon=False,
        )  # fmt: skip
    figure.suptitle(_headline(history, best), y=0.99, fontsize=12, fontweight="bold", color=EVAL)
    _arrange(figure, label_rows=math.ceil(len(labels) / LABELS_A_ROW))
    return figure


def _plot_shares(exact: Axes, tokens: Axes, history: History) -> None:
    """Plot exact match and token accuracy, overall and per pattern, and other shares."""
    patterns = _patterns(history)
    patterns = patterns if len(patterns) > 1 else []  # a single pattern has the overall curve
    for axes, metric in ((exact, "exact_match"), (tokens, "token_accuracy")):
        _line(axes, history, f"eval/{metric}", _held_out(history), EVAL, width=2.4)
        _line(axes, history, f"train/{metric}", "training", TRAIN)
        for pattern, colour in zip(patterns, cycle(PATTERNS), strict=False):
            label = pattern + _when_solved(history, f"eval/exact_match/{pattern}")
            _line(axes, history, f"eval/{metric}/{pattern}", label, colour, width=1.4)
    _line(exact, history, "eval/validity", "valid grids", GOOD, style="--")
    label = "the most common token's share of answers"
    _line(exact, history, "eval/mode_share", label, BAD, style=":")


def _held_out(history: History) -> str:
    """Return the label of the curves of all held-out puzzles."""
    return "held out, all" + _when_solved(history, "eval/exact_match")


def _arrange(figure: Figure, *, label_rows: int) -> None:
    """Place the panels; Matplotlib's own layouts would draw everything once more."""
    figure.subplots_adjust(
        left=0.65 / WIDTH,
        right=1 - 0.15 / WIDTH,
        top=1 - 0.62 / HEIGHT,
        bottom=(0.6 + 0.2 * label_rows) / HEIGHT,
        hspace=0.28,
        wspace=0.16,
    )


def _line(
    axes: Axes,
    history: History,
    name: str,
    label: str,
    colour: str,
    *,
    width: float = 1.8,
    style: str = "-",
) -> None:
    """Plot the metric `name` by epoch, if it has any finite value."""
    measured = [row for row in history if name in row]  # not every epoch is evaluated
    values = _series(measured, name)
    if np.isfinite(values).any():
        axes.plot(
            [row["epoch"] for row in measured], values, style, color=colour, label=label,
            linewidth=width, marker="o" if len(history) <= MARKED else None,
            markersize=2.2 + width / 2,
        )  # fmt: skip


def _finish(axes: Axes, title: str, history: History, best: int | None) -> None:
    """Add what all panels have: title, scales, and the line at the best epoch."""
    axes.set_title(title, loc="left", y=1.0, fontsize=10.5, fontweight="bold", color=EVAL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    if history:
        axes.set_xlim(history[0]["epoch"] - 0.5, history[-1]["epoch"] + 0.5)
    drawn = np.concatenate([np.empty(0), *(line.get_ydata() for line in axes.lines)])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        axes.text(0.5, 0.5, "no finite value", ha="center", color=BAD, transform=axes.transAxes)
    elif title == "Loss" and drawn.min() > 0 and drawn.max() > 20 * drawn.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.6g}")
    if best is not None:
        axes.axvline(best, color=GOOD, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)


def _write_scales(axes: Axes) -> None:
    """Draw the labels of both scales and the grid lines as a few artists.

    A tick of Matplotlib's is five artists; they took two thirds of the time of a figure that is
    drawn for every trial.
    """
    below, beside = axes.get_xaxis_transform(), axes.get_yaxis_transform()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_visible(False)
    epochs, values = _ticks(axes.xaxis), _ticks(axes.yaxis)
    for epoch, label in epochs:
        axes.text(epoch, -0.035, label, transform=below, ha="center", va="top", fontsize=9)
    for value, label in values:
        axes.text(
            -0.012, value, label, transform=beside, ha="right", va="center_baseline", fontsize=9
        )
    axes.text(0.5, -0.11, "epoch", transform=axes.transAxes, ha="center", va="top", fontsize=9)
    marks = [((epoch, -0.012), (epoch, 0)) for epoch, _ in epochs]
    across = [((0, value), (1, value)) for value, _ in values]
    for lines, transform, colour in ((marks, below, "black"), (across, beside, RULE)):
        drawn = LineCollection(
            lines, transform=transform, colors=colour, linewidths=0.8, zorder=0.5, clip_on=False
        )
        axes.add_collection(drawn, autolim=False)


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """Return the positions and labels of a scale's ticks."""
    low, high = axis.get_view_interval()
    places = [place for place in axis.get_majorticklocs() if low <= place <= high]
    return list(zip(places, axis.get_major_formatter().format_ticks(places), strict=True))


def _mark_divergence(axes: Axes, history: History) -> None:
    """Mark the epochs whose loss is not finite by a red band."""
    epochs = [
        row["epoch"]
        for row in history
        if "train/loss" in row and not math.isfinite(_number(row["train/loss"]))
    ]
    for epoch in epochs:
        axes.axvspan(epoch - 0.5, epoch + 0.5, color=BAD, alpha=0.12, linewidth=0)
    if epochs:
        axes.annotate(
            "not finite", (epochs[0] - 0.4, 0.92), xycoords=("data", "axes fraction"),
            color=BAD, fontsize=9,
        )  # fmt: skip


def _mark_phases(axes: Axes, history: History) -> None:
    """Shade the epochs up to each evaluation by its phase, which the legend explains."""
    labelled = [row for row in history if math.isfinite(_number(row.get("eval/phase")))]
    begins = history[0]["epoch"] - 0.5 if history else 0.0
    for number, rows in groupby(labelled, key=lambda row: int(row["eval/phase"])):
        *_, last = rows
        ends = last["epoch"] + 0.5
        colour, label = PHASE_SHADES[number - 1], f"phase: {phase_label(number)}"
        axes.axvspan(begins, ends, color=colour, linewidth=0, zorder=0, label=label)
        begins = ends


def _headline(history: History, best: int | None) -> str:
    if best is None:
        return f"{len(history)} epoch{'s' * (len(history) != 1)}"
    at_best = next((row for row in history if row["epoch"] == best), {})
    share = _number(at_best.get("eval/exact_match"))
    value = f": {share:.1%} exact match on held-out puzzles" if math.isfinite(share) else ""
    return f"Best epoch {best} of {history[-1]['epoch']} (dashed){value}"


def _labels(*panels: Axes) -> dict[str, Any]:
    """Return the lines by label."""
    found: dict[str, Any] = {}
    for axes in panels:
        lines, labels = axes.get_legend_handles_labels()
        for line, label in zip(lines, labels, strict=True):
            found.setdefault(label, line)
    return found


def _best_epoch(history: History) -> int | None:
    values = _series(history, "eval/exact_match")
    if not np.isfinite(values).any():
        return None
    return int(history[int(np.nanargmax(values))]["epoch"])


def _when_solved(history: History, name: str) -> str:
    """Return when an exact match first reached SOLVED, as a part of its label."""
    solved = np.flatnonzero(_series(history, name) >= SOLVED)
    return f" (≥ {SOLVED:.0%} at epoch {history[solved[0]]['epoch']})" if len(solved) else ""


def _patterns(history: History) -> list[str]:
    """Return the names of the patterns in the order of their metrics."""
    start = "eval/exact_match/"
    names = dict.fromkeys(name for row in history for name in row if name.startswith(start))
    return [name.removeprefix(start) for name in names]


def _series(history: History, name: str) -> np.ndarray:
    return np.array([_number(row.get(name)) for row in history], dtype=float)


def _number(value: Any) -> float:
    """Return a finite number, or nan for any other value of a record."""
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else math.nan
