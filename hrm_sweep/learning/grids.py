"""`prediction_vs_groundtruth.png`: puzzles as people see them. Drawn without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hrm_sweep.files import replacing

# the palette of the ARC viewer, softened; readers of ARC know which number is which
CELLS = (
    *("#22252a", "#2f7fd6", "#e5534b", "#3fae5a", "#f2cf3b"),
    *("#a4a9b0", "#d957b4", "#f28c3b", "#8fd3f0", "#7d2336"),
)
INK, PALE, GOOD, BAD = "#16324f", "#5b6470", "#0a7d4b", "#c1121f"
END_MARK, GIVEN, FILLED, OUTSIDE = "#eceef1", "#dfe4ec", "#ffffff", "#ffffff00"
BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}
"""Rows and columns of the boxes of a Sudoku of that side."""
NUMBERED_SIDE = 12
"""Largest side whose cells are big enough to be written in."""
SIDE, GAP, MARGIN, HEAD, FOOT = 1.75, 0.16, 0.3, 0.62, 0.3
"""Inches: a grid, between grids, around an example, above it, and the note below all."""


@dataclass(frozen=True, slots=True)
class Example:
    """One puzzle without the empty rest of its canvas; every array is [rows, columns]."""

    pattern: str
    grids: dict[str, np.ndarray]
    scored: np.ndarray
    wrong: np.ndarray
    fills_in: bool
    """Whether the truth fills empty cells of the input, as in Sudoku."""


def draw_predictions(examples: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes `predictions_figure` as the PNG file `path`."""
    with replacing(path) as temporary:
        predictions_figure(examples).savefig(temporary, format="png", metadata={"Software": None})


def predictions_figure(examples: Sequence[Mapping[str, Any]]) -> Figure:
    """Input, truth and prediction of each example as grids, with the wrong cells marked.

    An example maps `pattern` to its name and `input`, `truth`, `prediction` and `scored` to nested
    lists of one shape. Numbers from 0 are colours or digits, -1 an empty or EOS cell, -2 is
    outside; `scored` tells which cells count.
    """
    shown = [_example(example) for example in examples]
    places = _places([example.pattern for example in shown])
    rows = max((row for row, _ in places), default=0) + 1
    columns = max((column for _, column in places), default=0) + 1
    block = 3 * SIDE + 2 * GAP + MARGIN
    width, height = columns * block + MARGIN, rows * (SIDE + HEAD) + FOOT
    figure = Figure(figsize=(width, height), dpi=120, facecolor="white")
    for example, (row, column) in zip(shown, places, strict=True):
        left, bottom = MARGIN + column * block, height - (row + 1) * (SIDE + HEAD)
        wrong, scored = int(example.wrong.sum()), int(example.scored.sum())
        verdict = f"✗ {wrong} of {scored} cells wrong" if wrong else "✓ solved"
        figure.text(
            left / width, (bottom + SIDE + 0.34) / height, f"{example.pattern}:  {verdict}",
            fontsize=10.5, fontweight="bold", color=BAD if wrong else GOOD, va="center",
        )  # fmt: skip
        for number, kind in enumerate(example.grids):
            x = (left + number * (SIDE + GAP)) / width
            axes = figure.add_axes((x, bottom / height, SIDE / width, SIDE / height))
            axes.set_title(kind, fontsize=8, color=PALE, pad=3)
            _draw_grid(axes, example, kind)
    note = _note(shown)
    figure.text(MARGIN / width, 0.12 / height, note, fontsize=8, color=PALE, va="center")
    return figure


def _draw_grid(axes: Axes, example: Example, kind: str) -> None:
    """One grid: coloured squares, or written numbers where the puzzle is to fill cells in."""
    grid, given = example.grids[kind], example.grids["input"] >= 0
    # what nobody scores is shown as the input has it: the model's answer there means nothing
    shown = np.where(example.scored | (kind == "input"), grid, example.grids["input"])
    if kind == "input":
        shown = np.where(example.scored | given, grid, -2)
    rows, columns = shown.shape
    large = max(rows, columns) > NUMBERED_SIDE
    colours = np.array(
        [
            [_colour(example, int(shown[r, c]), given[r, c]) for c in range(columns)]
            for r in range(rows)
        ]
    )
    edge = "#b6bcc6" if example.fills_in else "white"
    axes.pcolormesh(
        np.arange(columns + 1), np.arange(rows + 1), np.array(colours),
        edgecolors=edge, linewidth=0.3 if large else 1.0, snap=not large,
    )  # fmt: skip
    axes.set(xlim=(-0.06, columns + 0.06), ylim=(rows + 0.06, -0.06), aspect="equal")
    axes.axis("off")
    if not large:
        for r, c in np.argwhere(shown >= 0):
            axes.text(
                c + 0.5, r + 0.53, str(shown[r, c]), ha="center", va="center",
                fontsize=min(11.0, 62 / max(rows, columns)), color=_ink(colours[r, c]),
                fontweight="bold" if example.fills_in and given[r, c] else "normal",
            )  # fmt: skip
    if example.fills_in and rows == columns and rows in BOXES:
        _draw_boxes(axes, rows)
    if kind == "prediction":
        for r, c in np.argwhere(example.wrong):
            _mark(axes, int(r), int(c), scale=0.5 if large else 1.0)


def _colour(example: Example, number: int, given: bool) -> tuple[float, float, float, float]:
    if number == -2:
        return to_rgba(OUTSIDE)
    if example.fills_in:
        return to_rgba(GIVEN if given else FILLED)
    return to_rgba(CELLS[number % len(CELLS)] if number >= 0 else END_MARK)


def _ink(colour: np.ndarray) -> str:
    """Dark or white, whichever reads better on the colour (its luma, ITU-R BT.601)."""
    return CELLS[0] if colour[:3] @ (0.299, 0.587, 0.114) > 0.55 else "white"


def _mark(axes: Axes, row: int, column: int, *, scale: float) -> None:
    """A red frame on white, seen on any colour."""
    inset = 0.1 * scale
    for colour, width in (("white", 4.2), (BAD, 2.2)):
        axes.add_patch(
            Rectangle(
                (column + inset, row + inset),
                1 - 2 * inset,
                1 - 2 * inset,
                fill=False,
                edgecolor=colour,
                linewidth=width * scale,
                zorder=3,
            )
        )


def _draw_boxes(axes: Axes, side: int) -> None:
    height, width = BOXES[side]
    for row in range(0, side, height):
        for column in range(0, side, width):
            corner = (column, row)
            box = Rectangle(corner, width, height, fill=False, edgecolor=INK, linewidth=1.4)
            axes.add_patch(box)


def _note(examples: Sequence[Example]) -> str:
    """How to read the marks that these examples show."""
    notes = ["Framed in red: predicted wrongly."]
    if any(not e.fills_in and (e.grids["truth"] == -1).any() for e in examples):
        notes.append("Light grey: end marks.")
    if any(e.fills_in for e in examples):
        notes.append("Shaded: given.")
    return " ".join(notes)


def _places(patterns: Sequence[str]) -> list[tuple[int, int]]:
    """Row and column of each example: two patterns take a column each, others rows of two."""
    names = list(dict.fromkeys(patterns))
    if len(names) == 2:
        return [(patterns[:i].count(name), names.index(name)) for i, name in enumerate(patterns)]
    places: list[tuple[int, int]] = []
    for i, name in enumerate(patterns):
        row, column = places[-1] if places else (0, -1)
        stays = column < 1 and (i == 0 or patterns[i - 1] == name)
        places.append((row, column + 1) if stays else (row + 1, 0))
    return places


def _example(content: Mapping[str, Any]) -> Example:
    """The example as arrays, cropped to what is scored or written."""
    grids = {kind: np.array(content[kind]) for kind in ("input", "truth", "prediction")}
    scored = np.array(content["scored"], dtype=bool)
    used = scored | (grids["input"] >= -1)
    rows, columns = np.flatnonzero(used.any(axis=1)), np.flatnonzero(used.any(axis=0))
    if len(rows):
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        grids = {kind: grid[part] for kind, grid in grids.items()}
        scored = scored[part]
    fills_in = scored & (grids["input"] == -1) & (grids["truth"] >= 0)
    wrong = scored & (grids["prediction"] != grids["truth"])
    return Example(content["pattern"], grids, scored, wrong, bool(fills_in.any()))
