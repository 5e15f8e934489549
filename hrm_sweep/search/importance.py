"""How much each searched parameter mattered, by Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

from hrm_sweep.search.scale import is_logarithmic, is_numeric
from hrm_sweep.system.process import hide_modules

ENOUGH = 5
"""Trials below which an importance would be a guess."""


def importances(
    points: Sequence[Mapping[str, Any]], values: Sequence[float], *, direction: str
) -> dict[str, float]:
    """Share of each parameter in what made the good trials good, the largest first; they sum to 1.

    By PED-ANOVA (Watanabe et al., arXiv:2304.10255), Optuna's default. Empty where it cannot be
    computed: too few trials, one parameter, or equal values.

    Args:
        points: the parameters of each complete trial; all have the same keys.
        values: the objective of each.
    """
    if len(points) < ENOUGH or len(points[0]) < 2 or len(set(values)) < 2:
        return {}
    import optuna

    with hide_modules("sklearn"):  # an evaluator that is not asked would import it, for 2 s
        from optuna.importance import get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spread = {name: _distribution([point[name] for point in points]) for name in points[0]}
    study = optuna.create_study(direction=cast(Any, direction))
    for point, value in zip(points, values, strict=True):
        study.add_trial(
            optuna.trial.create_trial(params=dict(point), distributions=spread, value=value)
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return get_param_importances(study)
        except (RuntimeError, ValueError):  # all trials are equally good, or nearly
            return {}


def _distribution(values: list[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if is_numeric(values):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=is_logarithmic(low, high))
    return CategoricalDistribution(sorted(set(values), key=str))
