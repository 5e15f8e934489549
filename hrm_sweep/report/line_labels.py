"""Words at the ends of lines, where there are few of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from matplotlib.axes import Axes

FEW = 6
"""Lines that are named at their ends; more are named by the page, where the pointer is."""
GAP = 0.062
"""Of two labels, as a share of the height of the axes."""


class End(NamedTuple):
    """The end of a line and what stands beside it."""

    y: float
    text: str
    colour: str
    is_best: bool


def label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write a label for each line at the right of the axes, at its height or near it.

    The limits of the axes are fixed before.
    """
    ends = [end for end in ends if math.isfinite(end.y)]
    low, high = axes.get_ylim()
    heights = spread([(end.y - low) / (high - low) for end in ends], GAP)
    for end, height in zip(ends, heights, strict=True):
        axes.annotate(
            end.text, (1, height), (6, 0), xycoords="axes fraction", textcoords="offset points",
            color=end.colour, fontsize=8, va="center", annotation_clip=False,
            fontweight="bold" if end.is_best else "normal",
        )  # fmt: skip


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Return heights between 0 and 1 that are at least a gap apart, in the same order."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    found = [min(max(height, 0.0), 1.0) for height in heights]
    for below, above in pairwise(order):
        found[above] = max(found[above], found[below] + gap)
    ceiling = 1.0
    for index in reversed(order):
        found[index] = min(found[index], ceiling)
        ceiling = found[index] - gap
    return found
