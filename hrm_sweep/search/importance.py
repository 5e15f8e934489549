"""How much each searched parameter mattered, by Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from hrm_sweep.search.scale import is_logarithmic, is_numeric
from hrm_sweep.system.process import hide_modules

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

ENOUGH = 5
"""Trials below which an importance would be a guess."""


def importances(
    points: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    *,
    direction: str,
    space: Mapping[str, BaseDistribution] | None = None,
) -> dict[str, float]:
    """Share of each parameter in what made the good trials good, the largest first; they sum to 1.

    By PED-ANOVA (Watanabe et al., arXiv:2304.10255), Optuna's default, whose result depends on the
    search space. Empty where it cannot be computed: too few trials, one parameter, or equal values.

    Args:
        points: the parameters of each complete trial, in the order of their numbers.
        values: the objective of each.
        space: the distributions that the study has in Optuna; a parameter that is not in it gets
            one from its values.
    """
    names = [name for name in points[0] if all(name in each for each in points)] if points else []
    if len(points) < ENOUGH or len(names) < 2 or len(set(values)) < 2:
        return {}
    import optuna

    with hide_modules("sklearn"):  # an evaluator that is not asked would import it, for 2 s
        from optuna.importance import get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = space or {}
    spread = {
        name: known.get(name) or _distribution([point[name] for point in points]) for name in names
    }
    study = optuna.create_study(direction=cast(Any, direction))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for point, value in zip(points, values, strict=True):
                params = {name: point[name] for name in names}
                study.add_trial(
                    optuna.trial.create_trial(params=params, distributions=spread, value=value)
                )
            return get_param_importances(study)
        except (RuntimeError, ValueError):  # all trials are equally good, or nearly
            return {}


def _distribution(values: list[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if is_numeric(values):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=is_logarithmic(low, high))
    return CategoricalDistribution(sorted(set(values), key=str))
