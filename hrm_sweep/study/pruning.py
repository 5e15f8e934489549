"""Pruning where the trial runs: the study's own pruner, asked after each report."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Listener = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Pruning:
    """What a worker needs to judge a trial: Optuna keeps no pruner with the study, and would judge
    by a default of its own."""

    storage: str = field(repr=False)
    """URL; it may hold a password."""
    study: str
    objective: str
    pruner: Any
    """An Optuna pruner."""

    def listener(self, number: int) -> Listener:
        """Reports a trial's objective to Optuna, and raises `optuna.TrialPruned` when the pruner
        sees no hope."""
        import optuna

        storage = _storage(self.storage)
        study = optuna.load_study(
            study_name=self.study,
            storage=storage,
            sampler=optuna.samplers.RandomSampler(),  # looks at no other trial
            pruner=self.pruner,
        )
        trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        trial = optuna.Trial(study, trial_id)
        last = max(storage.get_trial(trial_id).intermediate_values, default=0)

        def judge(step: int, values: Mapping[str, float]) -> None:
            if self.objective not in values:
                return
            if step > last:  # a resumed trial does again what is already reported
                trial.report(values[self.objective], step)
            if trial.should_prune():
                raise optuna.TrialPruned(f"pruned after step {step}")

        return judge


@functools.cache
def _storage(url: str) -> Any:
    """A worker opens the storage once."""
    from hrm_sweep.study.ledger import Ledger

    return Ledger(url).storage
