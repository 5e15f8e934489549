"""Figures of an epoch: summed, counted, divided once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple


class Measurement(NamedTuple):
    """What one epoch gave."""

    step: int
    """The epoch, counted from 1."""
    values: dict[str, float]


class Sums:
    """Totals and counts by name. A mean over nothing does not exist and is left out."""

    def __init__(self) -> None:
        self._totals: defaultdict[str, float] = defaultdict(float)
        self._counts: defaultdict[str, float] = defaultdict(float)

    def add(self, totals: Mapping[str, float], count: float) -> None:
        """Adds totals over `count` rows or tokens."""
        for name, total in totals.items():
            self._totals[name] += total
            self._counts[name] += count

    def means(self) -> dict[str, float]:
        return {
            name: total / self._counts[name]
            for name, total in self._totals.items()
            if self._counts[name]
        }
