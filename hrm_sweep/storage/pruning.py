"""Pruning where the trial runs: the study's own pruner, asked after each report."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hrm_sweep.errors import DatabaseAway, StudyError
from hrm_sweep.runs.curves import is_same
from hrm_sweep.storage.retry import RetryPolicy

Listener = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Pruning:
    """What a worker needs to judge a trial.

    Optuna does not store the pruner of a study, and would use a default instead.
    """

    storage: str = field(repr=False)
    """URL; it may hold a password."""
    study: str
    objective: str
    pruner: Any
    """An Optuna pruner."""

    def listener(self, number: int) -> Listener:
        """Return a listener that reports a trial's objective and raises `optuna.TrialPruned`.

        While the study's database does not answer, the trial continues; what could not be reported
        is reported with a later step.
        """
        return _Judge(self, number)

    def trial(self, number: int) -> Any:
        """Return the `optuna.Trial` of a number.

        Raises:
            DatabaseAway: it does not answer.
        """
        import optuna

        from hrm_sweep.compat.optuna import study_id

        storage = _storage(self.storage)
        study = optuna.load_study(
            study_name=self.study,
            storage=storage,
            sampler=optuna.samplers.RandomSampler(),  # looks at no other trial
            pruner=self.pruner,
        )
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id(study), number)
        return optuna.Trial(study, trial_id)


class _Judge:
    def __init__(self, pruning: Pruning, number: int) -> None:
        self._pruning, self._number = pruning, number
        self._patience = RetryPolicy(times_of_a_try=9)  # training must hardly be held up
        self._unreported: dict[int, float] = {}

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        if self._pruning.objective not in values:
            return
        self._unreported[step] = values[self._pruning.objective]
        if self._patience.has_time:
            with self._patience.asking():
                self._report()
                self._judge(step)

    @functools.cached_property
    def _trial(self) -> Any:
        return self._pruning.trial(self._number)

    @functools.cached_property
    def _reported(self) -> dict[int, float]:
        """The curve that Optuna has: a resumed trial repeats some of its steps."""
        from hrm_sweep.compat.optuna import trial_id

        known = self._trial.storage.get_trial(trial_id(self._trial)).intermediate_values
        return dict(known)

    def _report(self) -> None:
        can_hold = _storage(self._pruning.storage).can_hold
        for step, value in sorted(self._unreported.items()):
            if not is_same(self._reported.get(step, value), value):
                self._forget_from(step)
            if step not in self._reported and can_hold(step):
                self._trial.report(value, step)
                self._reported[step] = value
        self._unreported = {}

    def _forget_from(self, first: int) -> None:
        """Let the pruner judge by this attempt alone, which measures other values."""
        _storage(self._pruning.storage).remove_steps(self._trial, first=first)
        for step in [known for known in self._reported if known >= first]:
            del self._reported[step]
        del self._trial

    def _judge(self, step: int) -> None:
        import optuna

        if self._trial.should_prune():
            raise optuna.TrialPruned(f"pruned after step {step}")


@functools.cache
def _storage(url: str) -> Any:
    """Open the storage, once per worker."""
    from hrm_sweep.storage.database import shown
    from hrm_sweep.storage.optuna_storage import SharedStorage

    try:
        return SharedStorage(url)
    except StudyError as error:  # it could be opened when the study began
        raise DatabaseAway(shown(url), str(error)) from error
