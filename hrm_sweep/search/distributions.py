"""Optuna's distributions: made from Hydra's sweeps, and as text in the record of a study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, RangeSweep

from hrm_sweep.search.scale import is_logarithmic, is_numeric

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

EXACT = 2**53
"""Largest whole number that Optuna keeps exactly: it stores numbers as 64-bit floats."""


def write_distributions(distributions: Mapping[str, BaseDistribution]) -> dict[str, str]:
    """Return each distribution as Optuna's own JSON, by parameter name."""
    from optuna.distributions import distribution_to_json

    return {name: distribution_to_json(each) for name, each in distributions.items()}


def read_distributions(texts: Mapping[str, str]) -> dict[str, BaseDistribution]:
    """Return what `write_distributions` was given."""
    from optuna.distributions import json_to_distribution

    return {name: json_to_distribution(text) for name, text in texts.items()}


def searched_log(distribution: BaseDistribution | None) -> bool | None:
    """Return whether numbers are searched on a logarithmic scale; None for anything else."""
    return getattr(distribution, "log", None)


def is_exact(values: Iterable[Any]) -> bool:
    """Return whether Optuna gives the same numbers back."""
    return is_numeric(values) and all(
        abs(value) <= EXACT for value in values if isinstance(value, int)
    )


def interval(sweep: IntervalSweep, *, log: bool) -> BaseDistribution:
    """Return the distribution of an interval.

    Raises:
        ValueError: it is empty, or has no finite bounds.
    """
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = sweep.start, sweep.end
    if low is None or high is None or not low < high:
        raise ValueError(f"an interval needs low < high, got {low} and {high}")
    if not math.isfinite(high - low):
        raise ValueError(f"an interval needs finite bounds, got {low} and {high}")
    if isinstance(low, int) and isinstance(high, int):
        if not is_exact([low, high]):
            raise ValueError(f"whole numbers beyond 2**53 = {EXACT} need a list: choice(a, b)")
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def range_of(values: list[Any], sweep: RangeSweep, *, log: bool) -> BaseDistribution:
    """Return the distribution of a range, whose last value is the end: Optuna includes that.

    Raises:
        ValueError: it has a step on a log scale.
    """
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, step = min(values), max(values), abs(sweep.step or 1)
    if log and step != 1:
        raise ValueError("a range with a step cannot be searched on a log scale; use an interval")
    if not is_exact(values):
        return choice(values)
    if all(isinstance(value, int) for value in values):
        return IntDistribution(low, high, step=int(step), log=log)
    return FloatDistribution(low, high, step=None if log else float(step), log=log)


def choice(values: list[Any]) -> BaseDistribution:
    """Return the distribution of a list, without an order."""
    from optuna.distributions import CategoricalDistribution

    return CategoricalDistribution(values)


def ordered(values: list[Any]) -> BaseDistribution:
    """Return the distribution of a list in a grid: numbers have their order and scale."""
    from optuna.distributions import FloatDistribution, IntDistribution

    if not is_exact(values):
        return choice(values)
    low, high = min(values), max(values)
    log = is_logarithmic(low, high)
    if all(isinstance(value, int) for value in values):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)
