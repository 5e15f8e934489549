"""`prediction_vs_groundtruth.png`: puzzles as coloured or numbered grids, drawn without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from hrm_sweep.system.files import replacing

# the palette of the ARC viewer, softened
CELLS = (
    *("#22252a", "#2f7fd6", "#e5534b", "#3fae5a", "#f2cf3b"),
    *("#a4a9b0", "#d957b4", "#f28c3b", "#8fd3f0", "#7d2336"),
)
INK, PALE, GOOD, BAD = "#16324f", "#5b6470", "#0a7d4b", "#c1121f"
END_MARK, GIVEN, FILLED, OUTSIDE = "#eceef1", "#dfe4ec", "#ffffff", "#ffffff00"
BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}
"""Rows and columns of the boxes of a Sudoku of that side."""
NUMBERED_SIDE = 12
"""Largest side whose cells are big enough for a number."""
SIDE, GAP, MARGIN, HEAD, FOOT = 1.75, 0.16, 0.3, 0.62, 0.3
"""Inches: side of a grid, gap between grids, margin and headline of an example, footnote."""
DIGIT_HEIGHT = 0.729  # of Matplotlib's own font, DejaVu Sans, in ems


@dataclass(frozen=True, slots=True)
class Example:
    """A puzzle without the empty rest of its canvas; every array is [rows, columns]."""

    pattern: str
    grids: dict[str, np.ndarray]
    scored: np.ndarray
    wrong: np.ndarray
    fills_in: bool
    """Whether the truth fills empty cells of the input, as in Sudoku."""

    @property
    def verdict(self) -> str:
        """Whether the puzzle is solved, as a headline."""
        wrong, scored = int(self.wrong.sum()), int(self.scored.sum())
        return f"✗ {wrong} of {scored} cells wrong" if wrong else "✓ solved"

    @property
    def given(self) -> np.ndarray:
        """[rows, columns], whether the input has a number."""
        return self.grids["input"] >= 0

    def shown(self, kind: str) -> np.ndarray:
        """Return the numbers of a grid to display, [rows, columns].

        Cells that are not scored are those of the input, as their predictions have no meaning.
        """
        inputs = self.grids["input"]
        if kind == "input":
            return np.where(self.scored | self.given, inputs, -2)
        return np.where(self.scored, self.grids[kind], inputs)


def draw_predictions(examples: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write `predictions_figure` to the PNG file `path`."""
    save(predictions_figure(examples), path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure to a PNG file, in little time.

    At this size hinting makes no visible difference, and the best compression saves only a tenth.
    """
    with replacing(path) as temporary, rc_context({"text.hinting": "none"}):
        figure.savefig(
            temporary,
            format="png",
            metadata={"Software": None},
            pil_kwargs={"compress_level": 1},
        )


def predictions_figure(examples: Sequence[Mapping[str, Any]]) -> Figure:
    """Return a figure of the input, truth and prediction of each example, with wrong cells marked.

    A picture is drawn for every trial, and axes and artists take most of the time. So everything is
    placed in inches on the figure itself, and all cells, numbers or frames of an example's grids
    are one artist.

    Args:
        examples: mappings of `pattern` to its name and of `input`, `truth`, `prediction` and
            `scored` to nested lists of one shape. Numbers from 0 are colours or digits, -1 is an
            empty or EOS cell, -2 is outside; `scored` is 1 in cells that have a label.
    """
    shown = [read(example) for example in examples]
    places = _places([example.pattern for example in shown])
    rows = max((row for row, _ in places), default=0) + 1
    columns = max((column for _, column in places), default=0) + 1
    block = 3 * SIDE + 2 * GAP + MARGIN
    width, height = columns * block + MARGIN, rows * (SIDE + HEAD) + FOOT
    figure = Figure(figsize=(width, height), dpi=120, facecolor="white")
    for example, (row, column) in zip(shown, places, strict=True):
        left, top = MARGIN + column * block, height - row * (SIDE + HEAD) - HEAD
        _write(
            figure, left, top + 0.34, f"{example.pattern}:  {example.verdict}",
            fontsize=10.5, fontweight="bold", color=BAD if example.wrong.any() else GOOD,
        )  # fmt: skip
        _draw_grids(figure, example, left, top)
    _write(figure, MARGIN, 0.12, _note(shown), fontsize=8, color=PALE)
    return figure


def _draw_grids(figure: Figure, example: Example, left: float, top: float) -> None:
    """Draw the grids of an example side by side: coloured squares, or boards with numbers."""
    rows, columns = example.scored.shape
    side = SIDE / max(rows, columns)
    large = max(rows, columns) > NUMBERED_SIDE
    lefts = left + (SIDE + GAP) * np.arange(len(example.grids))
    heads = np.stack([lefts + side * columns / 2, np.full(len(lefts), top + 0.1)], axis=-1)
    kinds = [_glyphs(kind, 8, False) for kind in example.grids]
    _draw(figure, kinds, heads, facecolors=PALE, linewidths=0)
    numbers = np.stack([example.shown(kind) for kind in example.grids])
    colours = _colours(example, numbers)
    corners = _corners(lefts, top, (rows, columns), (side, side))
    _draw_boxes(
        figure, corners, (side, side), facecolors=colours.reshape(-1, 4),
        edgecolors="#b6bcc6" if example.fills_in else "white",
        linewidths=0.3 if large else 1.0, snap=not large,
    )  # fmt: skip
    if not large:
        _write_numbers(figure, example, numbers, colours, corners + side / 2)
    if example.fills_in and rows == columns and rows in BOXES:
        height, width = BOXES[rows]
        box = (width * side, height * side)
        frames = _corners(lefts, top, (rows // height, columns // width), box)
        _draw_boxes(figure, frames, box, facecolors="none", edgecolors=INK, linewidths=1.4)
    wrong = corners[-example.wrong.size :][example.wrong.ravel()]
    _mark(figure, wrong, side, scale=0.5 if large else 1.0)


def _corners(
    lefts: np.ndarray, top: float, shape: tuple[int, int], size: tuple[float, float]
) -> np.ndarray:
    """Return the lower left corners [grids · rows · columns, 2] of boxes of (width, height)."""
    grid, row, column = np.indices((len(lefts), *shape)).reshape(3, -1)
    return np.stack([lefts[grid] + size[0] * column, top - size[1] * (row + 1)], axis=-1)


def _draw_boxes(
    figure: Figure, corners: np.ndarray, size: tuple[float, float], **style: Any
) -> None:
    """Draw rectangles of one size as one artist."""
    outline = Outline(np.multiply([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)], size), closed=True)
    _draw(figure, [outline], corners, **style)


def _write_numbers(
    figure: Figure,
    example: Example,
    numbers: np.ndarray,
    colours: np.ndarray,
    centres: np.ndarray,
) -> None:
    """Write the numbers of an example's grids, centred in their cells."""
    size = min(11.0, 62 / max(example.scored.shape))
    bold = np.broadcast_to(example.given & example.fills_in, numbers.shape)
    outlines = [
        _glyphs(str(number), size, heavy)
        for number, heavy in zip(numbers.ravel().tolist(), bold.ravel().tolist(), strict=True)
        if number >= 0
    ]
    written = numbers.ravel() >= 0
    inks = _inks(colours.reshape(-1, 4)[written])
    _draw(figure, outlines, centres[written], facecolors=inks, linewidths=0)


def _draw(figure: Figure, outlines: list[Outline], places: np.ndarray, **style: Any) -> None:
    """Draw outlines at positions, both in inches, as one artist."""
    shapes = PathCollection(
        outlines, offsets=places, offset_transform=figure.dpi_scale_trans, **style
    )
    shapes.set_transform(figure.dpi_scale_trans)
    figure.add_artist(shapes)


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Write a text at a position in inches."""
    figure.text(x, y, text, transform=figure.dpi_scale_trans, va="center", **style)


@lru_cache(maxsize=256)
def _glyphs(text: str, size: float, bold: bool) -> Outline:
    """Return the outline of a text in inches, centred at the origin; `size` is in points."""
    font = FontProperties(weight="bold" if bold else "normal")
    outline = TextPath((0, 0), text, size=size / 72, prop=font)
    middle = outline.get_extents().intervalx.mean()
    return outline.transformed(Affine2D().translate(-middle, -DIGIT_HEIGHT / 2 * size / 72))


def _colours(example: Example, numbers: np.ndarray) -> np.ndarray:
    """Return the RGBA of the cells, [..., 4]."""
    if example.fills_in:
        colours = np.where(example.given[..., None], to_rgba(GIVEN), to_rgba(FILLED))
        colours = np.broadcast_to(colours, (*numbers.shape, 4)).copy()
    else:
        colours = to_rgba_array(CELLS)[numbers % len(CELLS)]
        colours[numbers < 0] = to_rgba(END_MARK)
    colours[numbers == -2] = to_rgba(OUTSIDE)
    return colours


def _inks(colours: np.ndarray) -> np.ndarray:
    """Return dark or white for each RGBA [N, 4], by its luma (ITU-R BT.601)."""
    light = colours[:, :3] @ (0.299, 0.587, 0.114) > 0.55
    return np.where(light[:, None], to_rgba(CELLS[0]), to_rgba("white"))


def _mark(figure: Figure, corners: np.ndarray, side: float, *, scale: float) -> None:
    """Draw red frames on white ones, which are visible on any colour."""
    inset = 0.1 * scale * side
    size = (side - 2 * inset, side - 2 * inset)
    for colour, width in (("white", 4.2), (BAD, 2.2)):
        _draw_boxes(
            figure, corners + inset, size,
            facecolors="none", edgecolors=colour, linewidths=width * scale,
        )  # fmt: skip


def _note(examples: Sequence[Example]) -> str:
    """Return the legend of the marks that these examples have."""
    notes = ["Framed in red: predicted wrongly."]
    if any(not e.fills_in and (e.grids["truth"] == -1).any() for e in examples):
        notes.append("Light grey: end marks.")
    if any(e.fills_in for e in examples):
        notes.append("Shaded: given.")
    return " ".join(notes)


def _places(patterns: Sequence[str]) -> list[tuple[int, int]]:
    """Return row and column of each example.

    Two patterns take a column each; others take rows of two examples.
    """
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
    """Return an example as arrays, cropped to the cells that have a label or a number."""
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
