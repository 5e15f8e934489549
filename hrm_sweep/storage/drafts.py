"""Proposals of a sampler that no database has yet: what it sees and writes while it samples."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.compat.optuna import FrozenStudy, study_id, trial_id
from hrm_sweep.storage.optuna_storage import SharedStorage

UNSTARTED = optuna.trial.create_trial(state=TrialState.RUNNING)
"""Stands for a new trial. TPE asks Hyperband for the bracket of each trial, and Hyperband knows its
brackets once it has judged one."""


@dataclass
class _Draft:
    """A trial that is proposed and not in the database."""

    trial: FrozenTrial
    study_attrs: dict[str, Any] = field(default_factory=dict)
    """What the sampler has noted of the study meanwhile."""


class Drafts(BaseStorage):
    """One study as it was last read, and after its trials the drafts, which run.

    A sampler that works on it asks no database and holds no lock. What it writes belongs to the
    newest draft and reaches the database with it, see `take`.

    Args:
        storage: of the study.
        study: is read by `refresh`.
    """

    def __init__(self, storage: SharedStorage, study: optuna.Study) -> None:
        self._storage, self._study = storage, study
        self._trials: dict[int, FrozenTrial] = {}
        self._growing: set[int] = set()
        """Ids of running trials of Optuna's own means, which may get further parameters."""
        self._drafts: list[_Draft] = []
        self._draft_ids = itertools.count(-1, -1)
        self._is_loaded = False
        self.are_late = False
        """Whether another process has added trials since the drafts were proposed."""

    def __len__(self) -> int:
        """Return the number of drafts."""
        return len(self._drafts)

    @property
    def trials(self) -> list[FrozenTrial]:
        """The study's trials, then the drafts, by number."""
        return [*self._trials.values(), *(draft.trial for draft in self._drafts)]

    def refresh(self) -> None:
        """Read what has changed in the database; the curves of running trials are left out."""
        if not self._is_loaded:
            self._add(self._study.get_trials(deepcopy=False))
            self._is_loaded = True
        unfinished = {key for key, each in self._trials.items() if not each.state.is_finished()}
        now = self._storage.states_of_trials(
            self._study, unfinished, above=max(self._trials, default=-1)
        )
        changed = {key for key, state in now.items() if self._has_changed(key, state)}
        if changed:
            self._add(self._storage.read_trials(self._study, changed))
        for number, draft in enumerate(self._drafts, start=len(self._trials)):
            self.are_late |= draft.trial.number != number
            draft.trial.number = number

    def clear(self) -> None:
        """Forget everything: what the database has is unknown."""
        self._trials, self._growing = {}, set()
        self._is_loaded = False
        self.drop()

    def drop(self) -> None:
        """Forget the drafts."""
        self._drafts.clear()
        self.are_late = False

    @property
    def know_study(self) -> bool:
        """Whether the sampler has noted of the study what it has given to a draft."""
        return any(draft.study_attrs for draft in self._drafts)

    def propose(self, fill: Callable[[optuna.Trial], None]) -> None:
        """Add a draft.

        Args:
            fill: suggests its parameters.
        """
        name, sampler, pruner = self._study.study_name, self._study.sampler, self._study.pruner
        study = optuna.load_study(study_name=name, storage=self, sampler=sampler, pruner=pruner)
        pruner.prune(study, UNSTARTED)
        draft = self.create_new_trial(study_id(study))
        try:
            fill(optuna.Trial(study, draft))
        except BaseException:
            self._drafts.pop()
            raise

    def take(self) -> FrozenTrial:
        """Write the oldest draft into the database, as a trial with the study's next number.

        Called inside `SharedStorage.exclusive_transaction`, after `refresh`.
        """
        draft = self._drafts.pop(0)
        for key, value in draft.study_attrs.items():
            self._storage.set_study_system_attr(study_id(self._study), key, value)
        trial = self._storage.add_running(self._study, draft.trial)
        self._trials[trial_id(trial)] = trial
        return trial

    def _has_changed(self, key: int, state: TrialState) -> bool:
        known = self._trials.get(key)
        return known is None or known.state is not state or key in self._growing

    def _add(self, trials: Iterable[FrozenTrial]) -> None:
        for trial in trials:
            key = trial_id(trial)
            self._trials[key] = trial
            is_growing = trial.state is TrialState.RUNNING and not trial.user_attrs
            (self._growing.add if is_growing else self._growing.discard)(key)
        in_order = sorted(self._trials.items(), key=lambda item: item[1].number)
        self._trials = dict(in_order)

    def _change(self, trial_id: int, name: str, key: str, value: Any) -> None:
        """Set an item of a draft; those who hold the trial keep it as it was."""
        draft = self._draft(trial_id)
        draft.trial = copy.copy(draft.trial)
        setattr(draft.trial, name, {**getattr(draft.trial, name), key: value})

    def _draft(self, wanted: int) -> _Draft:
        return next(draft for draft in self._drafts if trial_id(draft.trial) == wanted)

    # What Optuna asks a storage for

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:  # noqa: ARG002
        """Add a draft without parameters."""
        trial = FrozenTrial(
            number=len(self._trials) + len(self._drafts),
            trial_id=next(self._draft_ids),
            state=TrialState.RUNNING,
            value=None,
            datetime_start=datetime.now(),
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )
        self._drafts.append(_Draft(trial))
        return trial_id(trial)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Set a parameter of a draft."""
        value = distribution.to_external_repr(param_value_internal)
        self._change(trial_id, "distributions", param_name, distribution)
        self._change(trial_id, "params", param_name, value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a user attribute of a draft."""
        self._change(trial_id, "user_attrs", key, json.loads(json.dumps(value)))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute by which a sampler knows a draft again."""
        self._change(trial_id, "system_attrs", key, json.loads(json.dumps(value)))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:  # noqa: ARG002
        """Note what belongs to the newest draft."""
        self._drafts[-1].study_attrs[key] = json.loads(json.dumps(value))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return those of the database and of the drafts."""
        attrs = self._storage.get_study_system_attrs(study_id)
        for draft in self._drafts:
            attrs |= draft.study_attrs
        return attrs

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial or a draft."""
        return self._trials.get(trial_id) or self._draft(trial_id).trial

    def get_all_trials(
        self,
        study_id: int,  # noqa: ARG002
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return trials and drafts by number."""
        trials = [each for each in self.trials if states is None or each.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_study_id_from_name(self, study_name: str) -> int:  # noqa: ARG002
        """Return the study's id."""
        return study_id(self._study)

    def get_study_name_from_id(self, study_id: int) -> str:  # noqa: ARG002
        """Return the study's name."""
        return self._study.study_name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:  # noqa: ARG002
        """Return the study's directions."""
        return self._study.directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return those of the database."""
        return self._storage.get_study_user_attrs(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set it in the database."""
        self._storage.set_study_user_attr(study_id, key, value)

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return those of the database."""
        return self._storage.get_all_studies()

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Refuse: a sampler proposes trials."""
        raise NotImplementedError

    def delete_study(self, study_id: int) -> None:
        """Refuse: a sampler proposes trials."""
        raise NotImplementedError

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Refuse: a draft runs until it is taken."""
        raise NotImplementedError

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Refuse: a draft has no curve."""
        raise NotImplementedError
