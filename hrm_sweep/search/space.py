"""The search space: Hydra's sweep grammar on one side, Optuna's distributions on the other.

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

from hydra.core.override_parser.types import IntervalSweep, Override, QuotedString, RangeSweep
from hydra.errors import HydraException

from hrm_sweep.compat.hydra import element_text
from hrm_sweep.errors import SpaceError
from hrm_sweep.search.grammar import Zip
from hrm_sweep.search.scale import is_logarithmic, is_numeric

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MOST_POINTS = 100_000
"""Upper bound of a grid, whose points are enqueued in Optuna before the first trial."""
MOST_VALUES = 1_000_000
"""Upper bound of a range beside an interval; its values are listed before the first trial."""
EXACT = 2**53
"""Largest whole number that Optuna keeps exactly: it stores numbers as 64-bit floats."""
Value = bool | int | float | str | None
"""What Optuna can store as a parameter."""


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

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The searched dimensions."""
        return tuple(part for part in self.parts if isinstance(part, Dimension))

    @property
    def is_finite(self) -> bool:
        """Whether every dimension can be enumerated."""
        return all(dimension.choices is not None for dimension in self.dimensions)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distributions, by parameter name.

        A sampler may propose only the numbers of a list, so there it is categorical. A grid has no
        sampler: its lists of numbers keep their order and scale, and may grow later.
        """
        return {
            dimension.name: _ordered(dimension) if self.is_finite else dimension.distribution
            for dimension in self.dimensions
        }

    @property
    def size(self) -> int:
        """Number of points of a finite space."""
        return math.prod(len(axis[0].walk) for axis in self.axes())

    def overrides(self, params: Mapping[str, Value]) -> list[str]:
        """Return the task overrides of one point, fixed ones in their place."""
        return [
            part if isinstance(part, str) else part.override(params[part.name])
            for part in self.parts
        ]

    def in_order(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """Return a trial's parameters in the order of the dimensions: Optuna has another one."""
        names = [dimension.name for dimension in self.dimensions]
        return {name: params[name] for name in names if name in params}

    def params_of(self, overrides: Iterable[str]) -> dict[str, Value]:
        """Return the point whose task overrides these are: the inverse of `overrides`.

        Raises:
            SpaceError: a value is not in the space.
        """
        texts = dict(text.partition("=")[::2] for text in overrides)
        return {each.name: each.value_of(texts.get(each.key, "")) for each in self.dimensions}

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
            return {each.name: str(each.distribution) for each in self.dimensions}
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
        combined = map(_joined, itertools.product(*axes))
        return singles + list(itertools.islice(combined, max(0, at_most - len(singles))))


def parse_space(overrides: list[Override]) -> Space:
    """Return the space of a sweep's overrides; of two for one key the later counts, as in Hydra.

    Raises:
        SpaceError: a sweep that names nothing to search, or cannot be searched as written.
    """
    parts: dict[str, str | Dimension] = {}
    for override in overrides:
        key = override.get_key_element()
        parts[key] = _dimension(key, override) if override.is_sweep_override() else _fixed(override)
    space = Space(tuple(parts.values()))
    _check_zips(space)
    _check_size(space)
    return space


def check_once(typed: list[Override]) -> None:
    """Check that no key has two lists.

    A single value may follow a list and replaces it, as in Hydra.

    Raises:
        SpaceError: a key has two lists.
    """
    known: dict[str, Override] = {}
    for override in filter(Override.is_sweep_override, typed):
        first = known.setdefault(override.get_key_element().lstrip("+"), override)
        if first is not override:
            raise SpaceError(
                f"{override.input_line}: {first.input_line} is there too; name each key once"
            )


def _check_size(space: Space) -> None:
    if space.is_finite and (points := space.size) > MOST_POINTS:
        raise SpaceError(
            f"{' '.join(each.name for each in space.dimensions)}: a grid of {points:,} points, and "
            f"at most {MOST_POINTS:,} can be kept; take fewer values, or interval(...) for a search"
        )


def _check_zips(space: Space) -> None:
    zipped = [dimension for dimension in space.dimensions if dimension.zipped is not None]
    if zipped and not space.is_finite:
        raise SpaceError(
            f"{zipped[0].key}=zip(...): lists are walked together in a grid; beside an interval, "
            "search each of them by its own: " + f"{zipped[0].key}=choice(...)"
        )
    for first, *others in space.axes():
        for other in others:
            if len(first.walk) != len(other.walk):
                raise SpaceError(
                    f"{other.key}=zip(...): has {len(other.walk)} values, and {first.key} has "
                    f"{len(first.walk)}; lists that are walked together are equally long"
                )
        steps = list(zip(*(dimension.walk for dimension in (first, *others)), strict=True))
        if len(set(steps)) < len(steps):
            raise SpaceError(f"{first.key}=zip(...): a point stands in it twice; name it once")


def _fixed(override: Override) -> str:
    return (
        override.input_line or f"{override.get_key_element()}={override.get_value_element_as_str()}"
    )


def _dimension(key: str, override: Override) -> Dimension:
    sweep = override.value()
    tags = frozenset(getattr(sweep, "tags", ()))
    is_zip = isinstance(sweep, Zip)
    if not is_zip and (unknown := tags - {"log"}):
        raise SpaceError(
            f"{override.input_line}: unknown tag {', '.join(sorted(unknown))}; "
            "the one we know is log: tag(log, interval(1e-5, 1e-2))"
        )
    try:
        if isinstance(sweep, IntervalSweep):
            return Dimension(key, _interval(sweep, log="log" in tags), None)
        walk, choices = _choices(override, may_repeat=is_zip)
        distribution = _choice(list(choices))
        if isinstance(sweep, RangeSweep):
            distribution = _range(list(choices), sweep, log="log" in tags)
        return Dimension(key, distribution, choices, tuple(walk), tags if is_zip else None)
    except (ValueError, HydraException) as error:
        raise SpaceError(f"{override.input_line}: {error}") from error


def _choices(override: Override, *, may_repeat: bool) -> tuple[list[Value], dict[Value, str]]:
    """Return the values and the text of each."""
    if isinstance(sweep := override.value(), RangeSweep):
        _check_size_of(sweep)
    elements = list(override.sweep_iterator())
    texts = [element_text(element) for element in elements]
    if not elements:
        raise ValueError("names no value, so there is nothing to search; give at least one")
    walk: list[Value] = []
    choices: dict[Value, str] = {}
    for element, text in zip(elements, texts, strict=True):
        value = _stored(element, text)
        known = choices.get(value, text)
        if known != text:
            raise ValueError(f"{known} and {text} are one value to Optuna; name one of them")
        if value in choices and not may_repeat:
            raise ValueError(f"the value {text} stands in it twice; name it once")
        walk.append(value)
        choices[value] = text
    return walk, choices


def _check_size_of(sweep: RangeSweep) -> None:
    """Check that a range has an end, and not so many values that the memory would be full."""
    low, high, step = sweep.start or 0, sweep.stop or 0, sweep.step or 1
    if not (math.isfinite(step) and abs(high - low) <= MOST_VALUES * abs(step)):
        raise ValueError(
            f"a range needs finite numbers and at most {MOST_VALUES:,} values; take a larger step, "
            "or interval(...) for a search"
        )


def _stored(element: Any, text: str) -> Value:
    """Return what Optuna stores for an element of a list.

    Lists, dicts, infinities and not-a-number, which equals nothing, are stored as their text.
    """
    plain = element.text if isinstance(element, QuotedString) else element
    is_finite = isinstance(plain, int) or (isinstance(plain, float) and math.isfinite(plain))
    return plain if is_finite or isinstance(plain, str) or plain is None else text


def _is_exact(values: Iterable[Any]) -> bool:
    """Return whether Optuna gives the same numbers back."""
    return is_numeric(values) and all(
        abs(value) <= EXACT for value in values if isinstance(value, int)
    )


def _interval(sweep: IntervalSweep, *, log: bool) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = sweep.start, sweep.end
    if low is None or high is None or not low < high:
        raise ValueError(f"an interval needs low < high, got {low} and {high}")
    if not math.isfinite(high - low):
        raise ValueError(f"an interval needs finite bounds, got {low} and {high}")
    if isinstance(low, int) and isinstance(high, int):
        if not _is_exact([low, high]):
            raise ValueError(f"whole numbers beyond 2**53 = {EXACT} need a list: choice(a, b)")
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _range(values: list[Any], sweep: RangeSweep, *, log: bool) -> BaseDistribution:
    """Hydra's range leaves out its end, Optuna's includes it: the last value is the end here."""
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, step = min(values), max(values), abs(sweep.step or 1)
    if log and step != 1:
        raise ValueError("a range with a step cannot be searched on a log scale; use an interval")
    if not _is_exact(values):
        return _choice(values)
    if all(isinstance(value, int) for value in values):
        return IntDistribution(low, high, step=int(step), log=log)
    return FloatDistribution(low, high, step=None if log else float(step), log=log)


def _choice(values: list[Any]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution

    return CategoricalDistribution(values)


def _ordered(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    values: list[Any] = list(dimension.choices or ())
    if not _is_exact(values):
        return _choice(values)
    low, high = min(values), max(values)
    log = is_logarithmic(low, high)
    if all(isinstance(value, int) for value in values):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


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
