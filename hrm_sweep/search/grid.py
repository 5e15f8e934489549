"""The points of a finite space by their places, and the nearest one that is not taken."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from hrm_sweep.search.scale import is_numeric
from hrm_sweep.search.space import Dimension, Space
from hrm_sweep.search.values import Value

Place = tuple[int, ...]
"""Index of the step on each axis."""


class Grid:
    """Points of a finite space; zipped dimensions share an axis."""

    def __init__(self, space: Space) -> None:
        self._axes = space.axes()
        self._distributions = space.distributions
        self._steps = [_steps(axis) for axis in self._axes]
        self._index = [{step: at for at, step in enumerate(steps)} for steps in self._steps]

    def place_of(self, params: Mapping[str, Value]) -> Place | None:
        """Return the place of a point; None if it is incomplete or is between the places."""
        found = []
        for axis, index in zip(self._axes, self._index, strict=True):
            step = tuple(params.get(dimension.name, math.nan) for dimension in axis)
            if step not in index:
                return None
            found.append(index[step])
        return tuple(found)

    def places_of(self, points: Iterable[Mapping[str, Value]]) -> set[Place]:
        """Return the places that some trials take."""
        return {place for point in points if (place := self.place_of(point)) is not None}

    def nearest(
        self, point: Mapping[str, Value], taken: Collection[Place], fixed: Collection[str] = ()
    ) -> dict[str, Value]:
        """Return the point of the grid that is fewest steps away and not taken.

        Args:
            point: may lie between the places.
            fixed: dimensions whose values stay.
        """
        start = tuple(self._nearest_step(at, point) for at in range(len(self._axes)))
        free = [
            at for at, axis in enumerate(self._axes) if not any(each.name in fixed for each in axis)
        ]
        seen, queue = {start}, deque([start])
        while queue:
            place = queue.popleft()
            if place not in taken:
                return self._point(place)
            new = [each for each in self._neighbours(place, free) if each not in seen]
            seen.update(new)
            queue.extend(new)
        return self._point(start)  # all are taken

    def _point(self, place: Place) -> dict[str, Value]:
        steps = [steps[at] for steps, at in zip(self._steps, place, strict=True)]
        pairs = [zip(axis, step, strict=True) for axis, step in zip(self._axes, steps, strict=True)]
        return {dimension.name: value for pair in pairs for dimension, value in pair}

    def _neighbours(self, place: Place, free: Collection[int]) -> Iterator[Place]:
        """Yield the places one step away: beside it on an ordered axis, anywhere on another."""
        for axis in free:
            num, here = len(self._steps[axis]), place[axis]
            near = (here - 1, here + 1) if _is_ordered(self._steps[axis]) else range(num)
            for at in near:
                if at != here and 0 <= at < num:
                    yield (*place[:axis], at, *place[axis + 1 :])

    def _nearest_step(self, at: int, point: Mapping[str, Value]) -> int:
        def distance(step: tuple[Value, ...]) -> float:
            pairs = zip(self._axes[at], step, strict=True)
            return sum(self._distance(each, value, point[each.name]) for each, value in pairs)

        steps = self._steps[at]
        return min(range(len(steps)), key=lambda index: distance(steps[index]))

    def _distance(self, dimension: Dimension, one: Any, other: Any) -> float:
        """Return the distance of two values in units of the dimension's width."""
        distribution: Any = self._distributions[dimension.name]
        if not hasattr(distribution, "low"):
            return float(one != other)
        scale = math.log if distribution.log else float
        width = scale(distribution.high) - scale(distribution.low)
        return abs(scale(one) - scale(other)) / width if width else 0.0


def _steps(axis: list[Dimension]) -> list[tuple[Value, ...]]:
    steps = list(zip(*(dimension.walk for dimension in axis), strict=True))
    return sorted(steps) if _is_ordered(steps) else steps


def _is_ordered(steps: list[tuple[Value, ...]]) -> bool:
    return len(steps[0]) == 1 and is_numeric(value for (value,) in steps)
