"""Synchronisation of one sweep with its study in Optuna: curves and results out, trials in.

Each commit is one transaction. A commit that failed can be repeated: no result is written twice,
and no trial is lost or taken twice, whether or not the first try reached the database.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.compat.optuna import trial_id
from hrm_sweep.engine.attributes import ATTEMPT, ENDED_MS, FOLDER, OWNER
from hrm_sweep.engine.open_study import OpenStudy
from hrm_sweep.engine.other_sweeps import Others, await_orphans, running_of_others
from hrm_sweep.engine.progress import RecordTail, TrialProgress
from hrm_sweep.errors import DatabaseAway, StudyError
from hrm_sweep.runs.curves import curves
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import read, write_end
from hrm_sweep.runs.tickets import Adopted, Tickets


@dataclass(eq=False)
class InFlightTrial:
    """Trial of this sweep, from the moment it is taken until Optuna has its result."""

    trial: optuna.Trial | FrozenTrial
    overrides: list[str]
    tail: RecordTail
    objective: str | None
    """Metric of its curve in Optuna; None with several objectives, which have no curve."""
    unreported: dict[int, float] = field(default_factory=dict)
    """Steps of the curve that Optuna lacks."""
    run_id: str = ""
    """In MLflow; "" until it is known, which may be after the end: see `engine.optuna_summary`."""

    def __post_init__(self) -> None:
        self._extend_curve(self.tail.earlier)

    @property
    def progress(self) -> TrialProgress:
        """Progress, up to date with the last `read`."""
        return self.tail.progress

    @property
    def key(self) -> tuple[int, int]:
        """Number of the trial and of its attempt: unique in the study."""
        return self.progress.number, self.progress.attempt

    @property
    def was_told(self) -> bool:
        """Whether Optuna has got the end of the last attempt, before this one was taken."""
        return self.trial.user_attrs.get(ENDED_MS) == self.progress.ended_ms

    def read(self) -> None:
        """Read what the trial has appended to its record."""
        measured = self.tail.read()
        if self.tail.is_rewound:
            self.unreported, measured = {}, curves(read(self.progress.folder))
        self._extend_curve(measured)

    def set_outcome(self, outcome: Outcome, reason: str) -> None:
        """Set the outcome of a trial whose record has none, there too if it has begun."""
        self.progress.outcome, self.progress.reason = outcome, reason
        write_end(self.progress.folder, outcome=outcome.word, reason=reason, has_ended=True)
        self.read()

    def _extend_curve(self, measured: Mapping[int, Mapping[str, float]]) -> None:
        for step, values in measured.items():
            if self.objective is not None and self.objective in values:
                self.unreported[step] = values[self.objective]


class StudySync:
    """One sweep's access to its study in Optuna. Its methods raise DatabaseAway."""

    def __init__(self, opened: OpenStudy) -> None:
        self._study, self._storage, self._queue = opened.study, opened.storage, opened.queue
        self._opened, self._objectives = opened, opened.objectives
        self._owner = opened.lease.fields
        self._tickets = Tickets(Path(self._owner["lock"]).parent)
        self._is_unconfirmed = False
        """The last commit failed; the database may have it nevertheless."""

    def adopt(self, job_of: Callable[[int], Adopted | None]) -> dict[Future[Any], InFlightTrial]:
        """Take over the trials of dead sweeps that jobs of the launcher may still run."""
        take_from = self._opened.config.take_from
        with self._alone():
            adopted = self._queue.adopt(self._owner, job_of, take_from=take_from)
            return {
                job.future: self._in_flight(trial) if job.has_begun else self._awaiting(trial)
                for trial, job in adopted
            }

    def recover(self) -> list[InFlightTrial]:
        """Take over the other trials that dead sweeps have left, and those of `take_from`.

        No job of theirs begins them any more.
        """
        with self._alone():
            await_orphans(self._study)
            lost = self._queue.recover(self._owner, take_from=self._opened.config.take_from)
            for trial in lost:
                self._tickets.revoke(trial.number)
            return [self._in_flight(trial) for trial in lost]

    def commit(
        self,
        *,
        reporting: Sequence[InFlightTrial],
        ended: Sequence[InFlightTrial],
        known: Iterable[InFlightTrial],
        wanted: int,
    ) -> list[InFlightTrial]:
        """Write curves and results, and take up to `wanted` of the next trials.

        Trials that do not belong to this sweep any more are left alone: their result was written by
        an earlier try, or another sweep has taken them over.

        Args:
            reporting: running trials whose curve has new steps.
            ended: trials with an outcome.
            known: all trials of this sweep without a result in Optuna.
            wanted: may be 0.

        Raises:
            DatabaseAway: nothing was written or taken, as far as can be known; try again.
        """
        is_unconfirmed, self._is_unconfirmed = self._is_unconfirmed, True
        if is_unconfirmed:
            self._queue.refresh()
        written = [*reporting, *ended]
        if wanted and not self._queue.has(wanted):
            if written:  # a proposal knows what has ended before it
                with self._alone():
                    self._write(reporting, ended)
                reporting, ended = [], []
            while self._queue.prepare(wanted):
                pass
        with self._alone():
            self._write(reporting, ended)
            taken = self._unconfirmed(known) if is_unconfirmed else []
            while len(taken) < wanted and (trial := self._queue.next()):
                taken.append(self._take(trial))
        self._is_unconfirmed = False
        for flight in written:
            flight.unreported, flight.tail.is_rewound = {}, False
        return taken

    def judge(self, flights: Sequence[InFlightTrial]) -> set[int]:
        """Write the curves of running trials, and return the numbers of those to be pruned.

        Raises:
            DatabaseAway: nothing was written, as far as can be known.
            StudyError: the pruner raised.
        """
        with self._alone():
            ours = self._ours(flights)
            judged = [flight for flight in flights if flight.key in ours]
            for flight in judged:
                self._report(flight)
            pruned = {
                flight.progress.number for flight in judged if self._is_hopeless(flight.trial)
            }
        for flight in judged:
            flight.unreported, flight.tail.is_rewound = {}, False
        return pruned

    def will_retry(self, trial: TrialProgress) -> bool:
        """Return whether a trial that has ended goes back to the queue."""
        state = trial.optuna_state(max_attempts=self._opened.config.max_attempts)
        return state is TrialState.WAITING

    def finished(self, *, besides: Container[int] = ()) -> list[TrialProgress]:
        """Return the finished trials of all sweeps, but for those with some numbers."""
        return self._opened.finished(besides=besides)

    def running_of_others(self) -> Others:
        """Return what other sweeps run now."""
        return running_of_others(self._study, besides=self._owner)

    def _alone(self) -> AbstractContextManager[None]:
        return self._storage.exclusive_transaction(self._study.study_name)

    def _write(self, reporting: Sequence[InFlightTrial], ended: Sequence[InFlightTrial]) -> None:
        ours = self._ours([*reporting, *ended])
        for flight in [*reporting, *ended]:
            if flight.key in ours:
                self._report(flight)
        for flight in ended:
            if flight.key in ours:
                self._tell(flight)

    def _ours(self, flights: Iterable[InFlightTrial]) -> set[tuple[int, int]]:
        running = self._storage.user_attrs_of_running(flight.trial for flight in flights)
        return {
            (number, kept.get(ATTEMPT, 0))
            for number, kept in running.items()
            if kept.get(OWNER) == self._owner
        }

    def _unconfirmed(self, known: Iterable[InFlightTrial]) -> list[InFlightTrial]:
        """Return the trials that the failed commit before this one has taken after all."""
        keys = {flight.key for flight in known}
        ours = [self._awaiting(trial) for trial in self._queue.running_of(self._owner)]
        return [flight for flight in ours if flight.key not in keys]

    def _take(self, trial: optuna.Trial | FrozenTrial) -> InFlightTrial:
        flight = self._awaiting(trial)
        progress = flight.progress
        progress.attempt += 1
        self._storage.set_user_attrs(
            trial,
            {OWNER: self._owner, FOLDER: str(progress.folder), ATTEMPT: progress.attempt},
        )
        return flight

    def _awaiting(self, trial: optuna.Trial | FrozenTrial) -> InFlightTrial:
        flight = self._in_flight(trial)
        flight.progress.await_attempt()
        return flight

    def _in_flight(self, trial: optuna.Trial | FrozenTrial) -> InFlightTrial:
        params = self._opened.space.in_order(trial.params)
        overrides = self._opened.space.overrides(params)
        folder = self._opened.folder_of(trial.number, overrides)
        attempt = trial.user_attrs.get(ATTEMPT, 0)
        tail = RecordTail(TrialProgress(trial.number, params, folder, attempt))
        objective = None if self._objectives.is_multi_objective else self._objectives.names[0]
        return InFlightTrial(trial, overrides, tail, objective)

    def _report(self, flight: InFlightTrial) -> None:
        """Write the new steps of a curve; all of it if the trial measured some again."""
        if flight.tail.is_rewound:
            self._storage.remove_steps(flight.trial)
        if flight.unreported:
            self._storage.report(flight.trial, flight.unreported)

    def _tell(self, flight: InFlightTrial) -> None:
        trial, progress = flight.trial, flight.progress
        assert progress.outcome is not None
        is_complete = progress.outcome is Outcome.COMPLETE
        if is_complete:
            for constraint in self._objectives.constraints:
                excess = constraint.excess(progress.values)
                self._as_it_is_now(trial).set_constraint(constraint.name, excess)
        self._storage.set_user_attrs(trial, progress.to_user_attrs(flight.run_id))
        state = progress.optuna_state(max_attempts=self._opened.config.max_attempts)
        if state is TrialState.WAITING:
            self._queue.put_back(trial)
        else:
            values = self._objectives.values_of(progress.values) if is_complete else None
            self._study.tell(trial.number, values, state=state)

    def _is_hopeless(self, trial: optuna.Trial | FrozenTrial) -> bool:
        """Return what the pruner says of a trial by the curve that the database has."""
        try:
            return self._as_it_is_now(trial).should_prune()
        except DatabaseAway:
            raise
        except Exception as error:
            pruner = type(self._study.pruner).__name__
            raise StudyError(
                f"hydra/sweeper/pruner: {pruner} raised {type(error).__name__}: {error}; "
                f"take another one, such as median"
            ) from error

    def _as_it_is_now(self, trial: optuna.Trial | FrozenTrial) -> optuna.Trial:
        """Return a trial as the database has it; `trial` is as it was taken."""
        return optuna.Trial(self._study, trial_id(trial))
