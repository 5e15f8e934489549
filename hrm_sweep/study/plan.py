"""The plan: which point a free worker tries next."""

from __future__ import annotations

from typing import Protocol

import optuna
from optuna.trial import TrialState

from hrm_sweep.study.space import Space


class Plan(Protocol):
    """Proposes trials until there is nothing left to try."""

    num_trials: int
    """How many trials the study has when the plan is done."""

    def next(self) -> optuna.Trial | None:
        """The next trial, with its parameters suggested; None when the plan is done."""
        ...


class Grid:
    """Every point of a finite space, once, in Hydra's order.

    The points are written down before the first trial, so that trial number, job number and
    position in the grid are one.
    """

    def __init__(self, study: optuna.Study, space: Space) -> None:
        self._study, self._distributions = study, space.distributions
        for point in space.points():
            study.enqueue_trial(point)
        self.num_trials = len(study.get_trials(deepcopy=False))

    def next(self) -> optuna.Trial | None:
        if not self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            return None
        return self._study.ask(self._distributions)


class Search:
    """Points proposed by the study's sampler, until it has `num_trials`."""

    def __init__(self, study: optuna.Study, space: Space, *, num_trials: int) -> None:
        self._study, self._distributions = study, space.distributions
        self.num_trials = num_trials

    def next(self) -> optuna.Trial | None:
        if len(self._study.get_trials(deepcopy=False)) >= self.num_trials:
            return None
        return self._study.ask(self._distributions)


def make_plan(study: optuna.Study, space: Space, *, num_trials: int) -> Plan:
    """A grid if the space can be enumerated, a search if it cannot."""
    return Grid(study, space) if space.is_finite else Search(study, space, num_trials=num_trials)
