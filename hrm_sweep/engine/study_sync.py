"""What a sweep and its study in Optuna tell each other: what ended, what it measured, what is next.

All of an exchange is in one transaction. One that failed can be made again: whatever comes of the
first try, nothing is told twice, and no trial is lost or handed out twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import TrialState

from hrm_sweep.engine.progress import RecordTail, TrialProgress
from hrm_sweep.engine.trial_queue import ATTEMPT, FOLDER, OWNER, TrialQueue
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import settle
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.space import Space
from hrm_sweep.storage.optuna_storage import SharedStorage


@dataclass(eq=False)
class InFlightTrial:
    """A trial that was handed out, until Optuna is told how it ended."""

    trial: optuna.Trial
    overrides: list[str]
    follower: RecordTail
    objective: str | None
    """What its curve in Optuna is made of; a study with several objectives has no curves."""
    curve: dict[int, float] = field(default_factory=dict)
    """What Optuna has not been told of it, by step."""
    run_id: str = ""
    """In MLflow, once it is known."""
    tell_deadline: float = 0.0
    """`time.monotonic()` when Optuna is told at the latest, once the trial has ended."""

    def __post_init__(self) -> None:
        self._measure(self.follower.past)

    @property
    def row(self) -> TrialProgress:
        return self.follower.row

    @property
    def attempt(self) -> tuple[int, int]:
        """What no other handing out has: number of the trial and of its attempt."""
        return self.row.number, self.row.attempt

    def follow(self) -> None:
        """Reads what the trial wrote since."""
        self._measure(self.follower.follow())

    def conclude(self, outcome: Outcome, reason: str) -> None:
        """Says how the trial ended, also in its record, if that does not say it."""
        self.row.outcome, self.row.reason = outcome, reason
        settle(self.row.folder, outcome=outcome.word, reason=reason)
        self.follow()

    def _measure(self, measured: Mapping[int, Mapping[str, float]]) -> None:
        for step, values in measured.items():
            if self.objective is not None and self.objective in values:
                self.curve[step] = values[self.objective]


class StudySync:
    """One sweep's dealings with its study.

    Args:
        owner: the sweep, as its trials tell it.
        folder_of: the folder of a trial, from its number and overrides.
        max_attempts: how often a trial is started whose process dies.
    """

    def __init__(
        self,
        study: optuna.Study,
        ledger: SharedStorage,
        plan: TrialQueue,
        space: Space,
        objectives: Objectives,
        *,
        owner: Mapping[str, str],
        folder_of: Callable[[int, list[str]], Path],
        max_attempts: int,
    ) -> None:
        self._study, self._ledger, self._plan = study, ledger, plan
        self._space, self._objectives = space, objectives
        self._owner, self._folder_of, self._max_attempts = owner, folder_of, max_attempts
        self._is_in_doubt = False
        """The last exchange failed: perhaps it is there, and only its confirmation was lost."""

    def recover(self, *, take_from: str | None) -> list[InFlightTrial]:
        """Takes over what dead sweeps have left running, and sweeps on the machine `take_from`."""
        with self._ledger.exclusive():
            lost = self._plan.recover(self._owner, take_from=take_from)
            return [self._handed(trial) for trial in lost]

    def commit(
        self,
        *,
        reporting: Sequence[InFlightTrial],
        ended: Sequence[InFlightTrial],
        known: Iterable[InFlightTrial],
        wanted: int,
    ) -> list[InFlightTrial]:
        """Tells curves and ends, and takes up to `wanted` of the next trials.

        Trials that are not this sweep's any more are left alone: told already, or taken over.

        Args:
            known: all that this sweep has in hand.

        Raises:
            DatabaseAway: nothing was told or taken, as far as this can be known; ask again.
        """
        is_in_doubt, self._is_in_doubt = self._is_in_doubt, True
        with self._ledger.exclusive():
            ours = self._ours([*reporting, *ended])
            for handed in [*reporting, *ended]:
                if handed.attempt in ours and handed.curve:
                    self._ledger.report(handed.trial, handed.curve)
            for handed in ended:
                if handed.attempt in ours:
                    self._tell(handed)
            taken = self._unheard_of(known) if is_in_doubt else []
            while len(taken) < wanted and (trial := self._plan.next()):
                taken.append(self._hand(trial))
        self._is_in_doubt = False
        for handed in [*reporting, *ended]:
            handed.curve = {}
        return taken

    def goes_back(self, handed: InFlightTrial) -> bool:
        """Whether a trial that has ended is to be tried again."""
        return self._state(handed.row) is TrialState.WAITING

    def _ours(self, several: Iterable[InFlightTrial]) -> set[tuple[int, int]]:
        running = self._ledger.running(handed.trial for handed in several)
        return {
            (number, told.get(ATTEMPT, 0))
            for number, told in running.items()
            if told.get(OWNER) == self._owner
        }

    def _unheard_of(self, known: Iterable[InFlightTrial]) -> list[InFlightTrial]:
        """Trials that were taken in the exchange before, without this sweep being told."""
        self._plan.look_again()
        attempts = {handed.attempt for handed in known}
        ours = [self._waiting(trial) for trial in self._plan.running_of(self._owner)]
        return [handed for handed in ours if handed.attempt not in attempts]

    def _hand(self, trial: optuna.Trial) -> InFlightTrial:
        handed = self._waiting(trial)
        row = handed.row
        row.attempt += 1
        told = {OWNER: self._owner, FOLDER: str(row.folder), ATTEMPT: row.attempt}
        self._ledger.note(trial, told)
        return handed

    def _waiting(self, trial: optuna.Trial) -> InFlightTrial:
        handed = self._handed(trial)
        handed.follower.wait()
        return handed

    def _handed(self, trial: optuna.Trial) -> InFlightTrial:
        overrides = self._space.overrides(trial.params)
        row = TrialProgress(trial.number, trial.params, self._folder_of(trial.number, overrides))
        row.attempt = trial.user_attrs.get(ATTEMPT, 0)
        objective = None if self._objectives.is_multi_objective else self._objectives.names[0]
        return InFlightTrial(trial, overrides, RecordTail(row), objective)

    def _tell(self, handed: InFlightTrial) -> None:
        trial, row = handed.trial, handed.row
        assert row.outcome is not None
        told = {"outcome": row.outcome.word, "reason": row.reason, "seconds": round(row.seconds, 3)}
        if handed.run_id:
            told["mlflow_run_id"] = handed.run_id
        if row.outcome is Outcome.COMPLETE:
            told["values"] = row.values
            for constraint in self._objectives.constraints:
                trial.set_constraint(constraint.name, constraint.excess(row.values))
        if row.outcome is Outcome.INTERRUPTED:
            told[ATTEMPT] = row.attempt - 1
        self._ledger.note(trial, told)
        state = self._state(row)
        if state is TrialState.WAITING:
            self._plan.put_back(trial)
        else:
            is_complete = row.outcome is Outcome.COMPLETE
            values = self._objectives.values_of(row.values) if is_complete else None
            self._study.tell(trial, values, state=state)

    def _state(self, row: TrialProgress) -> TrialState:
        assert row.outcome is not None
        if row.outcome.is_failure and row.attempt >= self._max_attempts:
            return TrialState.FAIL
        return TrialState[row.outcome.optuna_state]
