"""Axes of a searched parameter: scale, marks and the names along it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from hrm_sweep import formatting
from hrm_sweep.formatting import shorten_middle
from hrm_sweep.report.data import Scale
from hrm_sweep.report.style import word
from hrm_sweep.search.scale import is_numeric
from hrm_sweep.search.values import Value

LETTER = 0.075
"""Inches of one, on the average."""
LONGEST = 14
"""Letters of a name that stands aslant; the middle of a longer one is left out."""
FEW = 6
"""Values of a parameter that are marked each."""


def place(axes: Axes, column: Sequence[Value], scale: Scale, *, inches: float) -> list[float]:
    """Return the places of values along an axis, which becomes logarithmic or named as needed."""
    if is_numeric(column):
        numbers = [float(value) for value in column]  # type: ignore[arg-type]
        place_numbers(axes, column, scale, inches=inches)
        return numbers
    names = sorted(set(column), key=order_of)
    name_each(axes, [word(formatting.format_param(name)) for name in names], inches=inches)
    return [float(names.index(value)) for value in column]


def place_numbers(
    axes: Axes, numbers: Sequence[Any], scale: Scale, *, inches: float,
    text: Callable[[float], str] = formatting.format_param,
) -> None:  # fmt: skip
    """Make the horizontal axis one of numbers, marked where the words have room."""
    if scale.is_log:
        axes.set_xscale("log")
    marks = marks_of(numbers, scale)
    ends = scale.bounds or (min(numbers), max(numbers))
    axes.set_xlim(_with_margin(*ends, is_log=scale.is_log))
    whole = scale._replace(bounds=ends)
    labels = _with_room(marks, [text(mark) for mark in marks], whole, inches=inches)
    axes.xaxis.set_ticks(marks, labels)
    axes.xaxis.set_ticks([], minor=True)


def name_each(axes: Axes, names: Sequence[str], *, inches: float) -> None:
    """Label the places 0, 1, … with names, aslant where they have no room side by side."""
    if len(names) * LETTER * (max(map(len, names)) + 1) <= inches:
        axes.set_xticks(range(len(names)), names)
        return
    aslant: Any = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(names)), [shorten_middle(name, LONGEST) for name in names], **aslant)


def heights_of(column: Sequence[Value], scale: Scale) -> np.ndarray:
    """Values of one axis between 0 and 1."""
    if not is_numeric(column):
        names = sorted(set(column), key=order_of)
        return np.array([names.index(value) / max(1, len(names) - 1) for value in column])
    numbers = np.array([*column, *(scale.bounds or ())], dtype=float)
    if scale.is_log:
        numbers = np.log(numbers)
    span = numbers.max() - numbers.min()
    places = (numbers - numbers.min()) / span if span else np.full(len(numbers), 0.5)
    return places[: len(column)]


def order_of(value: Any) -> Any:
    """Return what sorts values: numbers first, by size, then texts."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (0, value, "") if is_number else (1, 0, str(value))


def marks_of(column: Sequence[Any], scale: Scale) -> list[float]:
    """Where an axis is marked: at each of a few values, else at its ends and round numbers."""
    values = sorted(set(column))
    if scale.bounds is None and len(values) <= FEW:
        return values
    low, high = scale.bounds or (values[0], values[-1])
    if scale.is_log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        marks = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    else:
        marks = [float(f"{mark:.9g}") for mark in MaxNLocator(5).tick_values(low, high)]
    inner = [int(mark) if mark.is_integer() else mark for mark in marks if low <= mark <= high]
    return sorted({*inner, low, high}) if scale.bounds else inner


def _with_margin(low: float, high: float, *, is_log: bool) -> tuple[float, float]:
    """Return the limits of an axis with some room beside the first and the last value."""
    if low == high:
        return (low / 2, low * 2) if is_log else (low - 0.5, low + 0.5)
    if is_log:
        factor = (high / low) ** 0.05
        return low / factor, high * factor
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _with_room(
    marks: Sequence[float], labels: Sequence[str], scale: Scale, *, inches: float
) -> list[str]:
    """Return the labels of the marks of an axis, empty where there is no room.

    The first and the last have precedence, then the shortest.
    """
    halves = [LETTER * (len(label) + 1) / 2 for label in labels]
    centres = inches * heights_of(marks, scale) / 1.1
    order = sorted(
        range(len(marks)), key=lambda index: (0 < index < len(marks) - 1, len(labels[index]))
    )
    kept: list[int] = []
    for index in order:
        gaps = [abs(centres[index] - centres[o]) - halves[index] - halves[o] for o in kept]
        if all(gap >= 0 for gap in gaps):
            kept.append(index)
    return [label if index in kept else "" for index, label in enumerate(labels)]
