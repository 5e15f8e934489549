"""How many trials a study has in total, and whether a sampler proposes their points."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from hrm_sweep.errors import StudyError
from hrm_sweep.search.enqueued import KEY, Point
from hrm_sweep.search.space import Space

NUM_TRIALS = 20
"""Trials of an infinite space for which no number was asked."""


@dataclass(frozen=True)
class Budget:
    """What `n_trials` means for a space.

    Every point of a finite space is run once, in the space's own order; with fewer trials than
    points a sampler proposes them, each point once.
    """

    space: Space
    n_trials: int | None
    """As it was asked for; None: every point of a finite space."""
    enqueued: tuple[Point, ...] = ()
    """Points that are run first. They count."""

    def __post_init__(self) -> None:
        if self.n_trials is not None and 0 < self.n_trials < len(self.enqueued):
            raise StudyError(
                f"n_trials={self.n_trials}: {KEY} has {len(self.enqueued)} points, and they count; "
                f"take n_trials={len(self.enqueued)} or more"
            )
        if self.n_trials is not None and self.n_trials < 1:
            raise StudyError(f"n_trials={self.n_trials}: must be 1 or more, or null")

    @property
    def is_grid(self) -> bool:
        """Whether every point is run, so that no sampler is asked."""
        return self.space.is_finite and not (self.n_trials and self.n_trials < self.space.size)

    @property
    def num_trials(self) -> int:
        """Trials in total."""
        return self.space.size if self.is_grid else self.n_trials or NUM_TRIALS

    def first(self) -> list[Point]:
        """Return the points of a grid that are run first.

        Of an enqueued point that lacks values, the first one of the grid that has the given ones.
        """
        found: list[Point] = []
        for asked in self.enqueued if self.is_grid else ():
            whole = (point for point in self.space.points() if asked.items() <= point.items())
            found += itertools.islice((point for point in whole if point not in found), 1)
        return found

    def points(self) -> Iterator[Point]:
        """Return every point of a grid: those that are run first, then the others in Hydra's order.

        They are in the order in which a new study numbers them.
        """
        first = self.first()
        keys = {frozenset(point.items()) for point in first}
        others = (each for each in self.space.points() if frozenset(each.items()) not in keys)
        return itertools.chain(first, others)

    @property
    def is_too_large(self) -> bool:
        """Whether more trials were asked for than there are points."""
        return self.is_grid and (self.n_trials or 0) > self.space.size

    def num_new(self, num_known: int, num_untried: int) -> int:
        """Return how many trials are still to be added to a study.

        Args:
            num_known: trials that it has, in whatever state.
            num_untried: points of a finite space that none of them has.
        """
        if self.is_grid:
            return num_untried
        left = max(0, self.num_trials - num_known)
        return min(left, num_untried) if self.space.is_finite else left
