"""The overrides of a sweep, in Hydra's grammar, as a search space."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, QuotedString, RangeSweep
from hydra.errors import HydraException

from hrm_sweep.compat.hydra import element_text
from hrm_sweep.errors import SpaceError
from hrm_sweep.search.custom import CustomSpace
from hrm_sweep.search.distributions import choice, interval, range_of
from hrm_sweep.search.grammar import Zip
from hrm_sweep.search.space import Dimension, Space
from hrm_sweep.search.values import Value

MOST_POINTS = 100_000
"""Upper bound of a grid, whose points are enqueued in Optuna before the first trial."""
MOST_VALUES = 1_000_000
"""Upper bound of a range beside an interval; its values are listed before the first trial."""


def parse_space(overrides: list[Override], custom: CustomSpace | None = None) -> Space:
    """Return the space of a sweep's overrides; of two for one key the later counts, as in Hydra.

    Args:
        custom: adds parameters to each trial.

    Raises:
        SpaceError: a sweep that names nothing to search, or cannot be searched as written.
    """
    parts: dict[str, str | Dimension] = {}
    for override in overrides:
        key = override.get_key_element()
        parts[key] = _dimension(key, override) if override.is_sweep_override() else _fixed(override)
    space = Space(tuple(parts.values()), custom)
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
            f"{zipped[0].key}=zip(...): lists are walked together in a grid; in a search "
            f"each of them has its own values: {zipped[0].key}=choice(...)"
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
            return Dimension(key, interval(sweep, log="log" in tags), None)
        walk, choices = _choices(override, may_repeat=is_zip)
        distribution = choice(list(choices))
        if isinstance(sweep, RangeSweep):
            distribution = range_of(list(choices), sweep, log="log" in tags)
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


def ends_left_out(overrides: Iterable[Override]) -> Iterator[str]:
    """Yield a line for each range that would have one value more if its bound were included."""
    for override in filter(Override.is_range_sweep, overrides):
        sweep: Any = override.value()
        steps = (sweep.stop - (sweep.start or 0)) / sweep.step
        if steps >= 1 and abs(steps - round(steps)) < 1e-9:  # 0.3 / 0.1 is not quite 3
            yield (
                f"{override.input_line}: without {sweep.stop}, as in Hydra (hydra-optuna-sweeper "
                f"1.3 included it); for that, let it end at {sweep.stop + sweep.step:.12g}"
            )
