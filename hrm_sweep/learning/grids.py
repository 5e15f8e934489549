"""`prediction_vs_groundtruth.png`: puzzles as people see them. Drawn without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

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

Colour = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Example:
    """One puzzle without the empty rest of its canvas; every array is [rows, columns]."""

    pattern: str
    grids: dict[str, np.ndarray]
    scored: np.ndarray
    wrong: np.ndarray
    fills_in: bool
    """Whether the truth fills empty cells of the input, as in Sudoku."""

    @property
    def verdict(self) -> str:
        wrong, scored = int(self.wrong.sum()), int(self.scored.sum())
        return f"✗ {wrong} of {scored} cells wrong" if wrong else "✓ solved"

    @property
    def given(self) -> np.ndarray:
        return self.grids["input"] >= 0

    def shown(self, kind: str) -> np.ndarray:
        """The numbers of a grid as a reader sees them: what nobody scores is as the input has it,
        because what the model answers there means nothing."""
        inputs = self.grids["input"]
        if kind == "input":
            return np.where(self.scored | self.given, inputs, -2)
        return np.where(self.scored, self.grids[kind], inputs)


def draw_predictions(examples: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes `predictions_figure` as the PNG file `path`."""
    with replacing(path) as temporary:
        predictions_figure(examples).savefig(temporary, format="png", metadata={"Software": None})


def predictions_figure(examples: Sequence[Mapping[str, Any]]) -> Figure:
    """Input, truth and prediction of each example as grids, with the wrong cells marked.

    One pair of axes in inches holds them all, and the cells and numbers of a grid are one artist
    each: a picture is drawn for every trial, and axes and texts are what takes time.

    An example maps `pattern` to its name and `input`, `truth`, `prediction` and `scored` to nested
    lists of one shape. Numbers from 0 are colours or digits, -1 an empty or EOS cell, -2 is
    outside; `scored` tells which cells count.
    """
    shown = [read(example) for example in examples]
    places = _places([example.pattern for example in shown])
    rows = max((row for row, _ in places), default=0) + 1
    columns = max((column for _, column in places), default=0) + 1
    block = 3 * SIDE + 2 * GAP + MARGIN
    width, height = columns * block + MARGIN, rows * (SIDE + HEAD) + FOOT
    figure = Figure(figsize=(width, height), dpi=120, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    for example, (row, column) in zip(shown, places, strict=True):
        left, top = MARGIN + column * block, height - row * (SIDE + HEAD) - HEAD
        figure.text(
            left / width, (top + 0.34) / height, f"{example.pattern}:  {example.verdict}",
            fontsize=10.5, fontweight="bold", color=BAD if example.wrong.any() else GOOD,
            va="center",
        )  # fmt: skip
        for number, kind in enumerate(example.grids):
            _draw_grid(axes, example, kind, left + number * (SIDE + GAP), top)
    note = _note(shown)
    figure.text(MARGIN / width, 0.12 / height, note, fontsize=8, color=PALE, va="center")
    return figure


def _draw_grid(axes: Axes, example: Example, kind: str, left: float, top: float) -> None:
    """One grid: coloured squares, or written numbers where the puzzle is to fill cells in."""
    grid = example.shown(kind)
    rows, columns = grid.shape
    side = SIDE / max(rows, columns)
    large = max(rows, columns) > NUMBERED_SIDE
    axes.text(left + side * columns / 2, top + 0.06, kind, fontsize=8, color=PALE, ha="center")
    cells = zip(grid.ravel(), example.given.ravel(), strict=True)
    colours = [_colour(example, int(number), bool(given)) for number, given in cells]
    corners = _corners(grid.shape, left, top, (side, side))
    _draw_boxes(
        axes, corners, (side, side), facecolors=colours,
        edgecolors="#b6bcc6" if example.fills_in else "white",
        linewidths=0.3 if large else 1.0, snap=not large,
    )  # fmt: skip
    if not large:
        _write(axes, example, grid, colours, corners + side / 2)
    if example.fills_in and rows == columns and rows in BOXES:
        height, width = BOXES[rows]
        box = (width * side, height * side)
        frames = _corners((rows // height, columns // width), left, top, box)
        _draw_boxes(axes, frames, box, facecolors="none", edgecolors=INK, linewidths=1.4, zorder=3)
    if kind == "prediction":
        _mark(axes, corners[example.wrong.ravel()], side, scale=0.5 if large else 1.0)


def _corners(
    shape: tuple[int, ...], left: float, top: float, size: tuple[float, float]
) -> np.ndarray:
    """Lower left corners [rows x columns, 2] of boxes of a size (width, height), row by row."""
    row, column = np.indices(shape).reshape(2, -1)
    return np.stack([left + size[0] * column, top - size[1] * (row + 1)], axis=-1)


def _draw_boxes(axes: Axes, corners: np.ndarray, size: tuple[float, float], **style: Any) -> None:
    """Rectangles of one size as one artist."""
    outline = np.multiply([(0, 0), (1, 0), (1, 1), (0, 1)], size)
    axes.add_collection(PolyCollection(list(corners[:, None] + outline), **style), autolim=False)


def _write(
    axes: Axes, example: Example, grid: np.ndarray, colours: list[Colour], centres: np.ndarray
) -> None:
    """The numbers of a grid, in the middle of their cells."""
    size = min(11.0, 62 / max(grid.shape))
    texts, bold = grid.ravel().astype(str), example.given.ravel() & example.fills_in
    written = np.flatnonzero(grid.ravel() >= 0)
    numbers = PathCollection(
        [_glyphs(texts[cell], size, bool(bold[cell])) for cell in written],
        offsets=centres[written], offset_transform=axes.transData,
        facecolors=[_ink(colours[cell]) for cell in written], linewidths=0,
    )  # fmt: skip
    numbers.set_transform(axes.figure.dpi_scale_trans)
    axes.add_collection(numbers, autolim=False)


@lru_cache(maxsize=256)
def _glyphs(text: str, size: float, bold: bool) -> Outline:
    """The outline of a text around the origin, in inches; `size` is in points."""
    font = FontProperties(weight="bold" if bold else "normal")
    outline = TextPath((0, 0), text, size=size / 72, prop=font)
    box = outline.get_extents()
    return outline.transformed(Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2))


def _colour(example: Example, number: int, given: bool) -> Colour:
    if number == -2:
        return to_rgba(OUTSIDE)
    if example.fills_in:
        return to_rgba(GIVEN if given else FILLED)
    return to_rgba(CELLS[number % len(CELLS)] if number >= 0 else END_MARK)


def _ink(colour: Colour) -> str:
    """Dark or white, whichever reads better on the colour (its luma, ITU-R BT.601)."""
    return CELLS[0] if np.dot(colour[:3], (0.299, 0.587, 0.114)) > 0.55 else "white"


def _mark(axes: Axes, corners: np.ndarray, side: float, *, scale: float) -> None:
    """Red frames on white, seen on any colour."""
    inset = 0.1 * scale * side
    inner = side - 2 * inset
    for colour, width in (("white", 4.2), (BAD, 2.2)):
        _draw_boxes(
            axes, corners + inset, (inner, inner), facecolors="none", edgecolors=colour,
            linewidths=width * scale, zorder=3,
        )  # fmt: skip


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


def read(content: Mapping[str, Any]) -> Example:
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
