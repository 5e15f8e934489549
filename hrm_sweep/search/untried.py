"""Sampler of a finite space that proposes no point twice while others are left."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.compat.optuna import all_trials, fixed_params
from hrm_sweep.search.grid import Grid
from hrm_sweep.search.space import Dimension, Space


class Untried(BaseSampler):
    """Proposes the untried point of a finite space that is nearest to another sampler's proposal.

    Lists of numbers are ranges to that sampler, so that it knows their order and scale. What an
    enqueued trial brings is kept.

    Args:
        sampler: makes the proposals.
        study: as it is now.
    """

    def __init__(self, sampler: BaseSampler, space: Space, study: optuna.Study) -> None:
        self._sampler, self._space = sampler, space
        self._grid = Grid(space)
        self._random = RandomSampler(seed=len(study.get_trials(deepcopy=False)))

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return the whole space: a point is one proposal."""
        return self._space.distributions

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return an untried point."""
        trials = all_trials(study)
        trial = trials[trial.number]  # as `before_trial` has left it
        fixed = {**fixed_params(trial), **trial.params}
        taken = self._grid.places_of({**fixed_params(each), **each.params} for each in trials)
        point = self._proposal(study, trial) | fixed
        return self._grid.nearest(point, taken - self._grid.places_of([fixed]), fixed)

    def _proposal(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        relative = self._sampler.infer_relative_search_space(study, trial)
        point = dict(self._sampler.sample_relative(study, trial, relative))
        so_far = copy.copy(trial)
        for each in self._space.dimensions:
            if each.name not in point:
                point[each.name] = self._value(study, so_far, each)
            so_far.params = {**so_far.params, each.name: point[each.name]}
            so_far.distributions = {**so_far.distributions, each.name: each.distribution}
        return point

    def _value(self, study: optuna.Study, trial: FrozenTrial, dimension: Dimension) -> Any:
        asked = study, trial, dimension.name, dimension.distribution
        try:
            return self._sampler.sample_independent(*asked)
        except ValueError:  # it wants exactly this distribution of earlier trials, or all values
            return self._random.sample_independent(*asked)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a value of a parameter that is not of the space."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Let the sampler prepare."""
        self._sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Let the sampler learn; it may stop `Study.optimize`, which does not run here."""
        try:
            self._sampler.after_trial(study, trial, state, values)
        except RuntimeError as error:
            if "Study.stop" not in str(error):
                raise

    def reseed_rng(self) -> None:
        """Reseed the sampler."""
        self._sampler.reseed_rng()
