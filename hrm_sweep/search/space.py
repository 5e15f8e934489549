"""The search space: overrides of Hydra on one side, Optuna's distributions on the other.

A space whose every dimension can be enumerated (comma list, `choice`, `range`, `logrange`, `glob`)
is a grid; one with an `interval` is searched by sampling. Zipped dimensions are walked together.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hrm_sweep.errors import SpaceError, StudyError
from hrm_sweep.search.custom import KEY, CustomSpace
from hrm_sweep.search.distributions import ordered
from hrm_sweep.search.values import Value, plain, text_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial


ADDED = "custom_search_space"
"""Stands for the parameters of a custom search space where a space is written in words."""


@dataclass(frozen=True)
class Dimension:
    """One searched key."""

    key: str
    """As it stands in the override, with its `+`."""
    distribution: BaseDistribution
    choices: Mapping[Value, str] | None
    """Value -> override text, in Hydra's order; None when it cannot be enumerated."""
    walk: tuple[Value, ...] = ()
    """The values in the order of a grid; of a zipped dimension some may come again."""
    zipped: frozenset[str] | None = None
    """Tags of the zip; dimensions with equal ones are walked together."""

    @property
    def name(self) -> str:
        """The parameter's name in Optuna, MLflow and tables."""
        return self.key.lstrip("+")

    def override(self, value: Value) -> str:
        """Return the override for a value; plain Python numbers give the same bits back."""
        return f"{self.key}={self.text(value)}"

    def text(self, value: Value) -> str:
        """Return a value as text in the override grammar."""
        text = self.choices.get(value) if self.choices else None
        return repr(value) if text is None else text

    def value_of(self, text: str) -> Value:
        """Return the value that `text` writes as this text.

        Raises:
            SpaceError: the dimension has no such value.
        """
        for value, known in (self.choices or {}).items():
            if known == text:
                return value
        if self.choices is None:
            ends: Any = _ends(self)
            with contextlib.suppress(ValueError):
                number: Value = type(ends[0])(text)
                if ends[0] <= number <= ends[1]:
                    return number
        raise SpaceError(f"{self.key}={text}: is not in the search space")


@dataclass(frozen=True)
class Space:
    """The overrides of a sweep: fixed strings and dimensions, in the order they were typed."""

    parts: tuple[str | Dimension, ...] = field(default=())
    custom: CustomSpace | None = None
    """Adds parameters to each trial."""

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The searched dimensions."""
        return tuple(part for part in self.parts if isinstance(part, Dimension))

    @property
    def is_finite(self) -> bool:
        """Whether every dimension can be enumerated, and there are no others."""
        return self.custom is None and all(
            dimension.choices is not None for dimension in self.dimensions
        )

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distributions, by parameter name.

        A sampler may propose only the numbers of a list, so there it is categorical. A grid has no
        sampler: its lists of numbers keep their order and scale, and may grow later.
        """
        return {
            each.name: ordered(list(each.choices or ())) if self.is_finite else each.distribution
            for each in self.dimensions
        }

    @property
    def size(self) -> int:
        """Number of points of a finite space."""
        return math.prod(len(axis[0].walk) for axis in self.axes())

    def overrides(self, params: Mapping[str, Value]) -> list[str]:
        """Return the task overrides of one point, fixed ones in their place."""
        own = [
            part if isinstance(part, str) else part.override(params[part.name])
            for part in self.parts
        ]
        added = self.in_order(params).keys() - {each.name for each in self.dimensions}
        return own + [f"{name}={text_of(params[name])}" for name in params if name in added]

    def in_order(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """Return a trial's parameters in the order of the dimensions: Optuna has another one."""
        names = dict.fromkeys([*(each.name for each in self.dimensions), *params])
        return {name: params[name] for name in names if name in params}

    def extend(self, trial: BaseTrial) -> None:
        """Let a custom search space add its parameters to a trial that has those of the dimensions.

        Raises:
            StudyError: it cannot, or adds one that is set to a value.
        """
        if self.custom is None:
            return
        self.custom.extend(trial)
        keys = {each.name for each in self.dimensions}
        for name in trial.params.keys() - keys:
            for part in self.parts:
                override = part if isinstance(part, str) else part.key
                if override.lstrip("+~").partition("=")[0] == name.lstrip("+"):
                    raise StudyError(
                        f"{KEY}={self.custom.path}: adds {name}, and {override} is there too"
                    )

    def distributions_of(self, params: Mapping[str, Value]) -> dict[str, BaseDistribution]:
        """Return the distributions of one point, those of added parameters too.

        Raises:
            StudyError: the custom search space does not lead to this point.
        """
        if self.custom is None:
            return self.distributions
        from optuna.trial import FixedTrial

        from hrm_sweep.compat.optuna import suggest

        trial = FixedTrial(dict(params))
        for name, distribution in self.distributions.items():
            suggest(trial, name, distribution)
        self.extend(trial)
        return trial.distributions

    def params_of(self, overrides: Iterable[str]) -> dict[str, Value]:
        """Return the point whose task overrides these are: the inverse of `overrides`.

        Raises:
            SpaceError: a value is not in the space.
        """
        texts = dict(text.partition("=")[::2] for text in overrides if text not in self.parts)
        own = {each.name: each.value_of(texts.pop(each.key, "")) for each in self.dimensions}
        added = {name: plain(text) for name, text in texts.items()} if self.custom else {}
        return own | added

    def points(self) -> Iterator[dict[str, Value]]:
        """Every point of a finite space, in Hydra's order: the last key turns fastest."""
        axes = self.axes()
        names = [dimension.name for axis in axes for dimension in axis]
        steps = [zip(*(dimension.walk for dimension in axis), strict=True) for axis in axes]
        for values in itertools.product(*steps):
            yield dict(zip(names, itertools.chain.from_iterable(values), strict=True))

    def in_words(self) -> dict[str, list[str] | str]:
        """Return what is searched, to compare: the steps of a grid's axes, or what is sampled."""
        if not self.is_finite:
            words: dict[str, list[str] | str] = {
                each.name: str(each.distribution) for each in self.dimensions
            }
            return words | ({ADDED: self.custom.path} if self.custom else {})
        return {
            " ".join(dimension.name for dimension in axis): [
                " ".join(each.text(value) for each, value in zip(axis, step, strict=True))
                for step in zip(*(dimension.walk for dimension in axis), strict=True)
            ]
            for axis in self.axes()
        }

    def axes(self) -> list[list[Dimension]]:
        """Return the dimensions, zipped ones together."""
        axes: dict[Any, list[Dimension]] = {}
        for dimension in self.dimensions:
            axis = dimension.name if dimension.zipped is None else dimension.zipped
            axes.setdefault(axis, []).append(dimension)
        return list(axes.values())

    def corners(self, *, at_most: int) -> list[dict[str, Value]]:
        """Points that show early what cannot be composed.

        All of a finite space if they are few; else each listed value, and the ends of each interval
        and of each longer range, beside the first ones of the other dimensions, then combined as
        far as `at_most` allows.
        """
        if self.is_finite:
            points = list(itertools.islice(self.points(), at_most + 1))
            if len(points) <= at_most:
                return points
        axes = [_steps(axis, at_most=at_most) for axis in self.axes()]
        first = _joined(steps[0] for steps in axes)
        singles = [first | step for steps in axes for step in steps]
        found = {repr(point): point for point in singles}
        for point in map(_joined, itertools.product(*axes)):
            if len(found) >= at_most:
                break
            found[repr(point)] = point
        return list(found.values())


def _ends(dimension: Dimension) -> list[Value]:
    from optuna.distributions import CategoricalDistribution

    if isinstance(dimension.distribution, CategoricalDistribution):
        return list(dimension.distribution.choices)
    return [dimension.distribution.low, dimension.distribution.high]  # type: ignore[attr-defined]


def _steps(axis: list[Dimension], *, at_most: int) -> list[dict[str, Value]]:
    """Return the points of an axis that are checked, each without the other axes."""
    columns: list[Sequence[Value]] = [dimension.walk for dimension in axis]
    if len(axis) == 1 and (not axis[0].walk or len(axis[0].walk) > at_most):
        columns = [_ends(axis[0])]
    names = [dimension.name for dimension in axis]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _joined(steps: Iterable[dict[str, Value]]) -> dict[str, Value]:
    return {name: value for step in steps for name, value in step.items()}
