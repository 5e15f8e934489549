"""The scale of a parameter: one rule for distributions, importance and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

DECADE = 10


def is_numeric(values: Iterable[Any]) -> bool:
    """Return whether all values are finite numbers; true and false are no numbers."""
    return all(isinstance(value, (int, float)) and _is_number(value) for value in values)


def _is_number(value: float) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or math.isfinite(value))


def is_logarithmic(low: float, high: float) -> bool:
    """Return whether numbers between two bounds belong on a logarithmic scale.

    They do if they are positive and span a decade.
    """
    return low > 0 and high >= DECADE * low
