"""A figure as SVG for a page, where what stands for a trial has its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from io import StringIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from hrm_sweep.report.style import INK, Mark, MarkedFigure, drawing
from hrm_sweep.system import files

PNG_DPI = 150
POINTS = 72
"""Of an inch; the unit of Matplotlib's SVG."""
RADIUS = 5
"""Points around a marked place in which the pointer finds it."""


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, and leave everything in it where it was drawn.

    It is laid out here, once: Matplotlib would draw it twice for each file, to lay it out anew.
    """
    with drawing(), files.replacing(path) as temporary:
        figure.set_dpi(PNG_DPI)
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        figure.set_layout_engine(None)
        figure.savefig(temporary, format="png", dpi=PNG_DPI, metadata={"Software": None})


def svg_of(figure: Figure, name: str) -> str:
    """Return a figure as SVG: as wide as its place, in the page's colour of text.

    Marks are invisible until the pointer is on them; their words are elements `title`, which
    browsers show without any script.
    """
    text = StringIO()
    with drawing(), mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'<svg [^>]*?width="[^"]*"[^>]*?>', _without_size, svg, count=1)
    svg = re.sub(r' id="[a-zA-Z]+_\d+"', "", svg)  # every figure counts its parts from 1
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    marks = figure.marks if isinstance(figure, MarkedFigure) else []
    shapes = [shape for mark in reversed(marks) for shape in _shape(mark, figure)]  # best on top
    return svg.replace("</svg>", f'<g class="marks">{"".join(shapes)}</g></svg>')


def _without_size(match: re.Match[str]) -> str:
    return re.sub(r' (?:width|height)="[^"]*"', "", match[0])


def _shape(mark: Mark, figure: Figure) -> Iterator[str]:
    """Yield the shape of a mark where the figure has it; none if that is nowhere."""
    places = _places(mark, figure)
    words = f' data-trial="{mark.trial}"><title>{escape(mark.text)}</title>'
    if len(places) == 1:
        ((x, y),) = places
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}"{words}</circle>\n'
    elif len(places):
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{line}"{words}</polyline>\n'


def _places(mark: Mark, figure: Figure) -> np.ndarray:
    """Return the finite places of a mark within its axes, in points from the upper left."""
    places: np.ndarray = np.column_stack([np.asarray(mark.xs, float), np.asarray(mark.ys, float)])
    places = places[np.isfinite(places).all(axis=1)]
    if not len(places):
        return places
    box = mark.axes.bbox
    pixels = mark.axes.transData.transform(places).clip(box.min, box.max)
    points: np.ndarray = (pixels * [1, -1] + [0, figure.bbox.height]) * POINTS / figure.dpi
    return points
