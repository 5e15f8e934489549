"""The engine: keeps every slot of the launcher busy with the next trial of the plan.

One turn after the other: wait until a trial ends or a tick is over, read what the running ones
wrote, tell Optuna what ended and take what is next in one transaction, hand that out, let the
observers look.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

import optuna

from hrm_sweep import formatting
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.study_sync import InFlightTrial, StudySync
from hrm_sweep.engine.trial_queue import Others, TrialQueue, finished, running_of_others
from hrm_sweep.errors import (
    BatchLost,
    DatabaseAway,
    Hopeless,
    Interrupted,
    TimedOut,
    WorkerDied,
)
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.handle import session
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import settle
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.space import Space
from hrm_sweep.storage.leases import Lease
from hrm_sweep.storage.optuna_storage import SharedStorage
from hrm_sweep.storage.retry import RetryPolicy
from hrm_sweep.system import process

TICK_SECONDS = 0.1
SECONDS_BETWEEN_REPORTS = 1.0
"""How old the curves of running trials in Optuna may be."""
SECONDS_BETWEEN_LOOKS = 1.0
"""How often it is looked whether somebody has put a trial back, once there was none left."""
SECONDS_FOR_RUN_ID = 10.0
"""How long a trial that has ended waits for its run in MLflow before Optuna is told."""
SHORT_SECONDS = 10.0
"""Trials shorter than that are taken ahead, so that no worker waits for the next one; longer ones
are not: another sweep on the study may be free first."""
ENDED_BEFORE_HOPE_IS_LOST = 4
STOP_SECONDS = 10.0
"""How long Ctrl-C waits for running trials to reach their next report."""


class Slots(Protocol):
    """Where trials run: see `hrm_sweep.launch`."""

    num_slots: int
    num_ahead: int
    """Jobs beyond the slots that may wait for one."""

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[Any]: ...
    def flush(self) -> None: ...
    def ask_to_stop(self) -> None: ...
    def close(self) -> None: ...


class Observer(Protocol):
    """Watches a study from its first trial to its last: the screen, the projector."""

    def begin(self, engine: Scheduler) -> None: ...
    def tick(self) -> None: ...
    def settled(self, row: TrialProgress) -> None: ...
    def end(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When a study gives up, and what is told to whom."""

    max_attempts: int
    """How often a trial is started whose process dies."""
    max_failure_rate: float | None
    """Share of failed trials that ends the study, once some have ended."""
    timeout: float | None
    """Seconds after which no further trial is handed out."""
    reports: bool
    """Whether curves of running trials are told to Optuna here; a trial with a pruner does that
    itself, and only what it could not tell is told when it has ended."""
    take_from: str | None = None
    """A machine that is gone for good; its trials are taken over."""
    is_tracked: bool
    """Whether runs get an MLflow run id, for Optuna to keep beside the trial."""


class Scheduler:
    """Runs a plan to its end.

    Args:
        folder: of the study.
        owner: of the trials; released in the end.
        folder_of: the folder of a trial, from its number and overrides.
    """

    def __init__(
        self,
        *,
        study: optuna.Study,
        ledger: SharedStorage,
        space: Space,
        plan: TrialQueue,
        objectives: Objectives,
        rules: Rules,
        slots: Slots,
        folder: Path,
        owner: Lease,
        folder_of: Callable[[int, list[str]], Path],
        observers: Sequence[Observer],
    ) -> None:
        self.study, self.space, self.plan = study, space, plan
        self.objectives, self.rules = objectives, rules
        self.slots, self.folder = slots, folder
        self.rows = {trial.number: TrialProgress.of_the_past(trial) for trial in finished(study)}
        self.front = objectives.front(self._complete(), values_of)
        """The best trials so far; with one objective not more than one."""
        self.returns: dict[int, Future[Any]] = {}
        """What the launcher gave back, by trial number."""
        self._outcomes = Counter(row.outcome for row in self.rows.values())
        self._ledger, self._folder_of, self._observers = ledger, folder_of, observers
        self._owner, self._num_added = owner, plan.num_added()
        self._running: dict[Future[Any], InFlightTrial] = {}
        self._pending_tells: list[InFlightTrial] = []
        self._patience = RetryPolicy()
        self._gave_up = self._is_stopping = False
        self._are_short = False
        self._report_at = self._look_at = 0.0
        self._give_up = time.monotonic() + (rules.timeout or math.inf)
        """When no further trial is handed out."""

    def run(self) -> None:
        """Runs every trial of the plan.

        Raises:
            DatabaseAway: it does not answer, and there is nothing left to do without it. What ended
                meanwhile is told when the study goes on.
            Hopeless: too many trials fail; the running ones are stopped.
            KeyboardInterrupt: after Ctrl-C, once running trials have stopped at their next report
                and are told; a second Ctrl-C does not wait for them.
        """
        for observer in self._observers:
            observer.begin(self)
        self._exchange = StudySync(
            self.study,
            self._ledger,
            self.plan,
            self.space,
            self.objectives,
            owner=self._owner.told,
            folder_of=self._folder_of,
            max_attempts=self.rules.max_attempts,
        )
        try:
            self._run()
        except (KeyboardInterrupt, Hopeless):
            self._stop()
            raise
        except DatabaseAway:
            self._gave_up = True
            raise
        finally:
            self.slots.close()
            self._owner.release()
            if not self.trouble:
                self.count_those_of_others()
            for observer in self._observers:
                observer.end()

    def running(self) -> list[TrialProgress]:
        """Trials that have begun and not ended."""
        return [handed.row for handed in self._running.values() if handed.row.has_begun]

    @property
    def trouble(self) -> str:
        """Why the study's database does not answer; "" while it does."""
        return self._patience.trouble.reason if self._patience.trouble else ""

    @property
    def num_pending_tells(self) -> int:
        """How many trials have ended of which Optuna does not know."""
        return len(self._pending_tells)

    @property
    def is_stopped(self) -> bool:
        """Whether the study ended before its plan did, or a trial of it before its end."""
        has_given_up = time.monotonic() >= self._give_up and self.num_left > 0
        return self._gave_up or has_given_up or Outcome.INTERRUPTED in self.outcomes()

    @property
    def num_left(self) -> int:
        """How many trials of the plan have not ended, as far as is known here."""
        return max(0, self.plan.num_trials - self._num_added - self._outcomes.total())

    @property
    def is_left_to_others(self) -> bool:
        """Whether other sweeps run what is left, once this one has ended."""
        return self.num_left > 0 and not self.is_stopped

    def best(self) -> list[TrialProgress]:
        """Complete trials, the best first; in the end the order is that of the plan."""
        return self.objectives.ranked(self._complete(), values_of)

    def _join_front(self, row: TrialProgress) -> None:
        """Of equal trials that with the lower number counts, whichever ended first."""
        several = sorted([*self.front, row], key=lambda row: row.number)
        self.front = self.objectives.ranked(self.objectives.front(several, values_of), values_of)

    def outcomes(self) -> dict[Outcome, int]:
        """How many trials have ended how, in the order of the table of outcomes."""
        return {outcome: self._outcomes[outcome] for outcome in Outcome if self._outcomes[outcome]}

    def _complete(self) -> list[TrialProgress]:
        rows = sorted(self.rows.values(), key=lambda row: row.number)
        return [row for row in rows if row.outcome is Outcome.COMPLETE]

    def _run(self) -> None:
        self._recover()
        self._write()
        while self._running or self._pending_tells or self.trouble:
            self._turn()
            if not self._running:
                self._patience.wait()

    def count_those_of_others(self) -> None:
        """Adds trials that ended in other sweeps meanwhile: what the end says is of the study."""
        with self._patience.asking():
            for trial in finished(self.study):
                if trial.number not in self.rows:
                    row = self.rows[trial.number] = TrialProgress.of_the_past(trial)
                    self._outcomes[row.outcome] += 1
                    if row.outcome is Outcome.COMPLETE:
                        self._join_front(row)

    def others(self) -> Others:
        """What other sweeps run now, as far as the database says."""
        with self._patience.asking():
            return running_of_others(self.study, besides=self._owner.told)
        return Counter()

    def _recover(self) -> None:
        """Trials of a sweep that died: one that had ended is told now, the others wait again."""
        for handed in self._exchange.recover(take_from=self.rules.take_from):
            settle(handed.row.folder)
            handed.follow()
            if handed.row.outcome is None or handed.row.outcome.optuna_state == "WAITING":
                handed.follower.wait()
                handed.row.outcome = Outcome.INTERRUPTED
            self.rows[handed.row.number] = handed.row
            self._end(handed)

    def _turn(self) -> None:
        done: set[Future[Any]] = set()
        if self._running:
            done, _ = wait(self._running, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
        else:
            time.sleep(TICK_SECONDS)
        for handed in self._running.values():
            handed.follow()
        for future in done:
            with process.defer_interrupts():
                self._settle(future)
        self._write()
        for observer in self._observers:
            observer.tick()
        self._check_hope()

    def _check_hope(self) -> None:
        ended = self._outcomes.total()
        failed = sum(number for outcome, number in self.outcomes().items() if outcome.is_failure)
        if self.rules.max_failure_rate is None or ended < ENDED_BEFORE_HOPE_IS_LOST:
            return
        if failed > self.rules.max_failure_rate * ended and not self._is_stopping:
            raise Hopeless(
                f"{failed} of {ended} trials failed, more than "
                f"study.max_failure_rate={self.rules.max_failure_rate}; their reasons are above"
            )

    def _settle(self, future: Future[Any]) -> None:
        """The record says how a run ended, unless it ended before its record or without a word."""
        handed = self._running.pop(future)
        row, error = handed.row, future.exception()
        if error is None:
            self.returns[row.number] = future
        handed.follow()
        if row.outcome is None:
            handed.conclude(*_ending(row, future))
        elif row.outcome is Outcome.INTERRUPTED and not self._is_stopping:
            row.outcome = Outcome.FAILED  # by itself: it would again
        self._are_short = row.seconds < SHORT_SECONDS
        self._end(handed)

    def _end(self, handed: InFlightTrial) -> None:
        """Counts a trial that has ended; one that had not begun was never handed out."""
        row = handed.row
        if row.outcome is Outcome.INTERRUPTED and not row.has_begun:
            del self.rows[row.number]
        else:
            if not row.has_begun:
                self._leave_record(handed)
            self._outcomes[row.outcome] += 1
            if row.outcome is Outcome.COMPLETE:
                self._join_front(row)
            for observer in self._observers:
                observer.settled(row)
        patience = SECONDS_FOR_RUN_ID if self.rules.is_tracked and row.has_begun else 0
        handed.tell_deadline = time.monotonic() + patience
        self._pending_tells.append(handed)

    def _leave_record(self, handed: InFlightTrial) -> None:
        """Of a trial that ended before its record began: whoever reads the study's folder misses
        none that Optuna has."""
        row = handed.row
        assert row.outcome is not None
        identity = {"hrm_sweep.study": self.study.study_name, "hrm_sweep.trial": str(row.number)}
        with session(
            row.folder,
            kind="trial",
            name=f"{row.number} {formatting.format_point(row.params)}".strip(),
            params=dict(row.params),
            overrides=handed.overrides,
            tags=identity,
            description="",
        ) as run:
            run.set_outcome(row.outcome, row.reason)
        row.has_begun = True

    def _write(self) -> None:
        """Tells Optuna what is new and takes the next trials, if there is need. While its database
        does not answer, both wait for the next turn."""
        now = time.monotonic()
        for handed in self._pending_tells:
            handed.run_id = ExportState.load(handed.row.folder).run_id
        ended = [each for each in self._pending_tells if each.run_id or now >= each.tell_deadline]
        if any(map(self._exchange.goes_back, ended)):
            self._look_at = 0.0
        reporting = [each for each in self._running.values() if self.rules.reports and each.curve]
        wanted = self._num_free(now)
        is_due = ended or wanted or self.trouble or (reporting and now >= self._report_at)
        if is_due and self._patience.has_time:
            with process.defer_interrupts(), self._patience.asking():
                self._commit(reporting, ended, wanted)
            self.slots.flush()

    def _commit(
        self, reporting: list[InFlightTrial], ended: list[InFlightTrial], wanted: int
    ) -> None:
        known = [*self._running.values(), *self._pending_tells]
        taken = self._exchange.commit(reporting=reporting, ended=ended, known=known, wanted=wanted)
        now = time.monotonic()
        self._report_at = now + SECONDS_BETWEEN_REPORTS
        if len(taken) < wanted:
            self._look_at = now + SECONDS_BETWEEN_LOOKS
        self._pending_tells = [handed for handed in self._pending_tells if handed not in ended]
        for handed in taken:
            if before := self.rows.get(handed.row.number):  # an attempt before this one
                self._outcomes[before.outcome] -= 1
            self.rows[handed.row.number] = handed.row
            future = self.slots.submit(handed.overrides, handed.row.number)
            self._running[future] = handed

    def _num_free(self, now: float) -> int:
        """How many trials can be handed out, or at least be looked for."""
        if now >= self._give_up or now < self._look_at:
            return 0
        may_be_ahead = self._are_short and self.space.is_finite  # a search awaits what comes out
        wanted = self.slots.num_slots + (self.slots.num_ahead if may_be_ahead else 0)
        return max(0, wanted - len(self._running))

    def _stop(self) -> None:
        self._give_up, self._is_stopping = -math.inf, True
        self.slots.ask_to_stop()
        give_up = time.monotonic() + STOP_SECONDS
        try:
            while self._running or (self._pending_tells and not self.trouble):
                if time.monotonic() > give_up:
                    break
                self._turn()
        except KeyboardInterrupt:
            pass
        self.slots.close()
        for handed in self._running.values():
            row = handed.row
            handed.follow()
            if row.outcome is None:
                handed.conclude(Outcome.INTERRUPTED, f"stopped after step {row.step}")
            self._end(handed)
        self._running = {}
        for handed in self._pending_tells:
            handed.tell_deadline = 0.0
        self._write()


def values_of(row: TrialProgress) -> dict[str, float]:
    """Of a complete trial."""
    return row.values


def _ending(row: TrialProgress, future: Future[Any]) -> tuple[Outcome, str]:
    """How a trial ended whose record does not say it."""
    error = future.exception()
    if isinstance(error, TimedOut):
        return Outcome.TIMED_OUT, str(error)
    if isinstance(error, Interrupted) or (isinstance(error, BatchLost) and not row.has_begun):
        return Outcome.INTERRUPTED, str(error)
    if isinstance(error, (WorkerDied, BatchLost)):
        return Outcome.KILLED, str(error)
    if error is not None and row.has_begun:
        return Outcome.KILLED, _words_of(error)
    return Outcome.FAILED, _words_of(error or future.result())


def _words_of(failure: Any) -> str:
    """The exception of a job that failed before it had a record: its config did not compose."""
    if not isinstance(failure, BaseException):
        try:
            with redirect_stderr(StringIO()):  # Hydra prints there before it raises
                return f"it returned {failure.return_value!r} and left no record"
        except Exception as error:
            failure = error
    return " ".join(f"{type(failure).__name__}: {failure}".split())
