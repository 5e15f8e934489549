"""Draws seed_protocol.png from a study of `experiment=seed_protocol`, and prints its figures.

python -m hrm_sweep -m experiment=seed_protocol seed=0,1,2,3,4,5,6,7,8,9 study.name=seed-protocol
python docs/draw_seed_protocol.py multirun/seed-protocol docs/seed_protocol.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

REPORTED, TRUE, PADDING, HALTING = "#c1121f", "#16324f", "#e8a3a8", "#8a8f98"
END_MARKS = 10 / 35
"""Scored tokens that are the same in every puzzle."""


def main(study: Path, picture: Path) -> None:
    """Draw the picture of a study, and print its figures."""
    runs = [json.loads(path.read_text()) for path in sorted(study.glob("*/training_history.json"))]
    if not runs:
        sys.exit(f"{study}: no finished runs of experiment=seed_protocol in it")
    names = {name for row in runs[0] for name in row}
    curves = {name: np.array([[row[name] for row in run] for run in runs]) for name in names}
    figure = Figure(figsize=(12, 4.2), dpi=120, layout="constrained", facecolor="white")
    exact, loss, tokens = figure.subplots(1, 3)
    draw_exact_match(exact, curves)
    draw_loss(loss, curves)
    draw_tokens(tokens, curves)
    figure.suptitle(
        f"The original experiment, counted twice ({len(runs)} seeds)",
        fontsize=12, fontweight="bold", color=TRUE,
    )  # fmt: skip
    figure.savefig(picture, metadata={"Software": None})
    print_figures(curves)


def draw_exact_match(axes: Axes, curves: dict[str, np.ndarray]) -> None:
    """Draw exact match as reported, and as it was."""
    line(axes, curves["reported/exact_match"], REPORTED)
    line(axes, curves["train/exact_match"], TRUE)
    line(axes, curves["eval/exact_match"], TRUE, "--")
    say(axes, 9, 0.53, "as reported: the padding row counts as solved", REPORTED)
    say(axes, 9, 0.04, "puzzles solved; dashed: held-out ones", TRUE)
    finish(axes, "Exact match, mean", percent=True)


def draw_loss(axes: Axes, curves: dict[str, np.ndarray]) -> None:
    """Draw the loss, and the padding row's share of it."""
    total, puzzle, tokens = (
        curves[name].mean(axis=0) for name in ("reported/loss", "train/loss", "train/lm_loss")
    )
    epochs = np.arange(1, len(total) + 1)
    axes.fill_between(epochs, puzzle, total, color=PADDING, linewidth=0)
    axes.fill_between(epochs, tokens, puzzle, color=HALTING, linewidth=0)
    axes.fill_between(epochs, 0, tokens, color=TRUE, alpha=0.25, linewidth=0)
    line(axes, curves["reported/loss"], REPORTED)
    say(axes, 11, puzzle[10] + 0.9, "the padding row: halting", REPORTED)
    say(axes, 7, 0.6, "the puzzle: tokens", TRUE)
    axes.set_ylim(bottom=0)
    finish(axes, "Loss as reported, mean")


def draw_tokens(axes: Axes, curves: dict[str, np.ndarray]) -> None:
    """Draw token accuracy as reported, and of held-out puzzles."""
    trained, held_out = curves["train/token_accuracy"], curves["eval/token_accuracy"]
    epochs = np.arange(1, trained.shape[1] + 1)
    axes.fill_between(
        epochs, trained.min(axis=0), trained.max(axis=0), color=REPORTED, alpha=0.1, linewidth=0
    )
    line(axes, trained, REPORTED, label="the one puzzle of the epoch, and range")
    line(axes, held_out, TRUE, "--", label="the two held-out puzzles")
    axes.axhline(END_MARKS, color=HALTING, linewidth=1, linestyle=":", label="end marks alone")
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    finish(axes, "Token accuracy, mean", percent=True)


def line(axes: Axes, runs: np.ndarray, colour: str, style: str = "-", label: str = "") -> None:
    """Draw the mean of all runs by epoch."""
    epochs = np.arange(1, runs.shape[1] + 1)
    axes.plot(epochs, runs.mean(axis=0), style, color=colour, linewidth=2, label=label)


def say(axes: Axes, epoch: float, height: float, words: str, colour: str) -> None:
    """Write a label beside a curve."""
    axes.text(epoch, height, words, color=colour, fontsize=9, ha="center")


def finish(axes: Axes, title: str, *, percent: bool = False) -> None:
    """Set title, labels and grid of a panel."""
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=TRUE)
    axes.set_xlabel("epoch (one puzzle each)", fontsize=9)
    axes.tick_params(labelsize=9)
    axes.set_xticks([1, 5, 10, 15, 20])
    axes.spines[["top", "right"]].set_visible(False)
    if percent:
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")


def print_figures(curves: dict[str, np.ndarray]) -> None:
    """Print the figures of the table in seed_experiment.md."""
    loss = curves["reported/loss"]
    lowest = loss.argmin(axis=1)[:, None]
    share = np.take_along_axis(curves["reported/padding_share_of_loss"], lowest, axis=1)
    for words, values in {
        "first loss": loss[:, 0],
        "lowest loss": loss.min(axis=1),
        "fall of the loss": 1 - loss.min(axis=1) / loss[:, 0],
        "padding's share of the lowest loss": share,
        "best token accuracy": curves["reported/token_accuracy"].max(axis=1),
        "exact match, reported": curves["reported/exact_match"],
        "exact match, true": curves["train/exact_match"],
        "exact match, held out": curves["eval/exact_match"],
    }.items():
        print(f"{words:36}{values.min():.3f} to {values.max():.3f}, mean {values.mean():.3f}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
