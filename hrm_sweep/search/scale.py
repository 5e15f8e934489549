"""The scale of a parameter: one rule for distributions, importance and figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

DECADE = 10


def is_numeric(values: Iterable[Any]) -> bool:
    """Return whether all values are numbers; true and false are not."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def is_logarithmic(low: float, high: float) -> bool:
    """Return whether numbers between two bounds belong on a logarithmic scale.

    They do if they are positive and span a decade.
    """
    return low > 0 and high >= DECADE * low
