"""Optuna's cache of trials, as in 5.0.0. Canary: tests/unit/compat/test_optuna_cache_canary.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.trial import FrozenTrial

from hrm_sweep.compat.optuna_tables import states_of

MOST_AT_ONCE = 500
"""Trials that are named in one statement; of more, all unfinished ones are read."""


class TrialCache(_CachedStorage):
    """Cache of finished trials that can keep running ones too, while a sampler reads.

    Optuna's own reads every unfinished trial again whenever a sampler looks at a study, several
    times for each trial that it proposes: with hundreds in flight that takes longer than all else.
    """

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        self._is_sampling = False

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Read again only trials that are new or of another state than before, and the newest two.

        For a block that proposes a trial: what else may have changed, the attributes and curves of
        other running trials, is of no use to a sampler. It still meets each trial that has ended.
        """
        self._is_sampling = True
        try:
            yield
        finally:
            self._is_sampling = False

    def clear(self) -> None:
        """Forget all trials; studies that use this cache keep it."""
        vars(self).update(vars(_CachedStorage(self._backend)))

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        if not self._is_sampling or study_id not in self._studies:
            super()._read_trials_from_remote_storage(study_id)
            return
        with self._lock:
            study = self._studies[study_id]
            changed = self._changed(study_id, study)
            if len(changed) <= MOST_AT_ONCE:
                self._keep(study_id, study, self._read(study_id, changed))
                return
        super()._read_trials_from_remote_storage(study_id)

    def _changed(self, study_id: int, study: _StudyInfo) -> set[int]:
        """Return the ids of the trials that have to be read."""
        with self._backend.scoped_session() as session:
            states = states_of(session, study_id, newer_than=study.last_finished_trial_id)
        changed = {each for each in study.unfinished_trial_ids if each not in states}
        changed |= set(sorted(states)[-2:])  # the proposed one, and that before it
        for trial_id, state in states.items():
            _, number = self._trial_id_to_study_id_and_number.get(trial_id, (study_id, -1))
            known = study.trials.get(number)
            if known is None or known.state is not state or not known.params:
                changed.add(trial_id)
        return changed

    def _read(self, study_id: int, ids: set[int]) -> list[FrozenTrial]:
        if not ids:
            return []
        return self._backend._get_trials(
            study_id, states=None, included_trial_ids=ids, trial_id_greater_than=max(ids)
        )

    def _keep(self, study_id: int, study: _StudyInfo, trials: list[FrozenTrial]) -> None:
        self._add_trials_to_cache(study_id, trials)
        for trial in trials:
            if not trial.state.is_finished():
                study.unfinished_trial_ids.add(trial._trial_id)
                continue
            study.unfinished_trial_ids.discard(trial._trial_id)
            last = max(study.last_finished_trial_id, trial._trial_id)
            study.last_finished_trial_id = last
