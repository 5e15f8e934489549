"""Curves: what a run measured, by step, whichever of its attempts measured it.

An attempt that resumes measures some steps again. Where it comes to other values, the app is not
deterministic or began anew, and the steps of two attempts are no curve. The record then has a
`rewound` entry: from its `step` on, what earlier attempts measured is not part of the curve.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hrm_sweep.runs.record import Entry, values_of

CLOCK = "time/"
"""Metrics whose names begin so depend on the clock: no attempt measures the same."""

Values = Mapping[str, float]


class Remeasured(NamedTuple):
    """Steps of earlier attempts that an attempt measured again, to other values."""

    attempt: int
    first: int
    last: int


class Curves:
    """The curves of a run, built entry by entry."""

    def __init__(self) -> None:
        self.remeasured: list[Remeasured] = []
        self._attempt = 0
        self._earlier: dict[int, dict[str, float]] = {}
        self._own: dict[int, dict[str, float]] = {}
        """By the attempts before the present one, and by that."""

    @property
    def by_step(self) -> dict[int, dict[str, float]]:
        """Everything measured, by step, in the order it was measured."""
        merged = {step: dict(values) for step, values in self._earlier.items()}
        for step, values in self._own.items():
            merged.setdefault(step, {}).update(values)
        return merged

    def read(self, entry: Entry) -> None:
        """Take the next entry of the record."""
        if entry.event == "metrics":
            self._own.setdefault(entry.fields["step"], {}).update(values_of(entry))
        elif entry.event == "started":
            self._attempt += 1
            self._earlier, self._own = self.by_step, {}
        elif entry.event == "rewound":
            self._rewind(entry.fields["step"])

    def _rewind(self, step: int) -> None:
        if dropped := [known for known in self._earlier if known >= step]:
            self.remeasured.append(Remeasured(self._attempt, min(dropped), max(dropped)))
        self._earlier = {known: self._earlier[known] for known in self._earlier if known < step}


def read_curves(entries: Iterable[Entry]) -> Curves:
    """Return the curves of a whole record, or of a part of it."""
    found = Curves()
    for entry in entries:
        found.read(entry)
    return found


def curves(entries: Iterable[Entry]) -> dict[int, dict[str, float]]:
    """Return everything measured, by step; a step may have several entries."""
    return read_curves(entries).by_step


def differs(step: int, values: Values, past: Mapping[int, Values]) -> bool:
    """Return whether measurements contradict those of earlier attempts, by step.

    They do if a value is another one, or if the step is missing among those before the last.
    """
    if step not in past:
        return step < max(past, default=step)
    known = past[step]
    compared = (name for name in values if name in known and not name.startswith(CLOCK))
    return not all(is_same(values[name], known[name]) for name in compared)


def is_same(one: float, other: float) -> bool:
    """Return whether two values are the same; not-a-number is the same as itself."""
    return one == other or (math.isnan(one) and math.isnan(other))
