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
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.trial import TrialState

from hrm_sweep import runtime
from hrm_sweep.errors import Hopeless, Interrupted, TimedOut, WorkerDied
from hrm_sweep.outcomes import Outcome
from hrm_sweep.study import words
from hrm_sweep.study.goals import Goals
from hrm_sweep.study.ledger import Ledger
from hrm_sweep.study.owners import Owner
from hrm_sweep.study.plan import OWNER, Plan
from hrm_sweep.study.rows import Follower, Row
from hrm_sweep.study.space import Space
from hrm_sweep.study.trial import session
from hrm_sweep.tracking.cursor import Cursor
from hrm_sweep.tracking.record import settle

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

    def begin(self, engine: Engine) -> None: ...
    def tick(self) -> None: ...
    def settled(self, row: Row) -> None: ...
    def end(self) -> None: ...


@dataclass(eq=False)
class _Handed:
    """A trial that was handed out, until Optuna is told how it ended."""

    trial: optuna.Trial
    overrides: list[str]
    follower: Follower
    curve: dict[int, float] = field(default_factory=dict)
    """What Optuna has not been told of the objective, by step."""
    tell_by: float = 0.0
    """`time.monotonic()` when Optuna is told at the latest, once the trial has ended."""

    @property
    def row(self) -> Row:
        return self.follower.row


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
    """Whether curves are told to Optuna here; a trial with a pruner does that itself."""
    is_tracked: bool
    """Whether runs get an MLflow run id, for Optuna to keep beside the trial."""


class Engine:
    """Runs a plan to its end.

    Args:
        folder: of the study.
        folder_of: the folder of a trial, from its number and overrides.
    """

    def __init__(
        self,
        *,
        study: optuna.Study,
        ledger: Ledger,
        space: Space,
        plan: Plan,
        goals: Goals,
        rules: Rules,
        slots: Slots,
        folder: Path,
        folder_of: Callable[[int, list[str]], Path],
        observers: Sequence[Observer],
    ) -> None:
        self.study, self.space, self.plan, self.goals, self.rules = study, space, plan, goals, rules
        self.slots, self.folder = slots, folder
        self.rows = {trial.number: Row.of_the_past(trial) for trial in _finished(study)}
        self.front = goals.front(self._complete(), values_of)
        """The best trials so far; with one objective not more than one."""
        self.returns: dict[int, Future[Any]] = {}
        """What the launcher gave back, by trial number."""
        self._outcomes = Counter(row.outcome for row in self.rows.values())
        self._ledger, self._folder_of, self._observers = ledger, folder_of, observers
        self._running: dict[Future[Any], _Handed] = {}
        self._untold: list[_Handed] = []
        self._are_short = False
        self._report_at = self._look_at = 0.0
        self._give_up = time.monotonic() + (rules.timeout or math.inf)
        """When no further trial is handed out."""

    def run(self) -> None:
        """Runs every trial of the plan.

        Raises:
            Hopeless: too many trials fail; the running ones are stopped.
            KeyboardInterrupt: after Ctrl-C, once running trials have stopped at their next report
                and are told; a second Ctrl-C does not wait for them.
        """
        for observer in self._observers:
            observer.begin(self)
        self._owner = Owner(self.folder)
        try:
            self._run()
        except (KeyboardInterrupt, Hopeless):
            self._stop()
            raise
        finally:
            self.slots.close()
            self._owner.release()
            for observer in self._observers:
                observer.end()

    def running(self) -> list[Row]:
        """Trials that have begun and not ended."""
        return [handed.row for handed in self._running.values() if handed.row.has_begun]

    def best(self) -> list[Row]:
        """Complete trials, the best first; in the end the order is that of the plan."""
        return self.goals.ranked(self._complete(), values_of)

    def _join_front(self, row: Row) -> None:
        """Of equal trials that with the lower number counts, whichever ended first."""
        several = sorted([*self.front, row], key=lambda row: row.number)
        self.front = self.goals.ranked(self.goals.front(several, values_of), values_of)

    def outcomes(self) -> dict[Outcome, int]:
        """How many trials have ended how, in the order of the table of outcomes."""
        return {outcome: self._outcomes[outcome] for outcome in Outcome if self._outcomes[outcome]}

    def _complete(self) -> list[Row]:
        rows = sorted(self.rows.values(), key=lambda row: row.number)
        return [row for row in rows if row.outcome is Outcome.COMPLETE]

    def _run(self) -> None:
        self._recover()
        self._write()
        while self._running or self._untold:
            self._turn()

    def count_those_of_others(self) -> None:
        """Adds trials that ended in other sweeps meanwhile: what the end says is of the study."""
        for trial in _finished(self.study):
            if trial.number not in self.rows:
                row = self.rows[trial.number] = Row.of_the_past(trial)
                self._outcomes[row.outcome] += 1
                if row.outcome is Outcome.COMPLETE:
                    self._join_front(row)

    def _recover(self) -> None:
        """Trials of a sweep that died: one that had ended is told now, the others wait again."""
        with self._ledger.exclusive():
            lost = [self._handed(trial) for trial in self.plan.recover(self._owner.told)]
        for handed in lost:
            settle(handed.row.folder)
            handed.curve |= self._curve(handed.follower.follow())
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
            self._follow(handed)
        for future in done:
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
        if failed > self.rules.max_failure_rate * ended and self._give_up > -math.inf:
            raise Hopeless(
                f"{failed} of {ended} trials failed, more than "
                f"study.max_failure_rate={self.rules.max_failure_rate}; their reasons are above"
            )

    # Reading records

    def _follow(self, handed: _Handed) -> None:
        """Reads what the trial wrote since: for the screen, and for Optuna's curves."""
        handed.curve |= self._curve(handed.follower.follow())

    def _curve(self, measured: dict[int, dict[str, float]]) -> dict[int, float]:
        """What Optuna is told of it; a study with several objectives has no curves there."""
        if not self.rules.reports or self.goals.are_several:
            return {}
        (objective,) = self.goals.objectives
        return {step: values[objective] for step, values in measured.items() if objective in values}

    def _settle(self, future: Future[Any]) -> None:
        """The record says how a run ended, unless it ended before its record or without a word."""
        handed = self._running.pop(future)
        row, error = handed.row, future.exception()
        if error is None:
            self.returns[row.number] = future
        self._follow(handed)
        if isinstance(error, (WorkerDied, TimedOut)):
            row.outcome = Outcome.KILLED if isinstance(error, WorkerDied) else Outcome.TIMED_OUT
            row.reason, row.seconds = str(error), handed.follower.age()
            settle(row.folder, outcome=row.outcome.word, reason=row.reason)
        elif isinstance(error, Interrupted):
            row.outcome = Outcome.INTERRUPTED
        elif row.outcome is None:
            row.outcome, row.reason = Outcome.FAILED, _words_of(error or future.result())
        self._are_short = row.seconds < SHORT_SECONDS
        self._end(handed)

    def _end(self, handed: _Handed) -> None:
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
        handed.tell_by = time.monotonic() + patience
        self._untold.append(handed)

    def _leave_record(self, handed: _Handed) -> None:
        """Of a trial that ended before its record began: whoever reads the study's folder misses
        none that Optuna has."""
        row = handed.row
        assert row.outcome is not None
        identity = {"hrm_sweep.study": self.study.study_name, "hrm_sweep.trial": str(row.number)}
        with session(
            row.folder,
            kind="trial",
            name=f"{row.number} {words.point(row.params)}".strip(),
            params=dict(row.params),
            overrides=handed.overrides,
            tags=identity,
            description="",
        ) as run:
            run.conclude(row.outcome, row.reason)
        row.has_begun = True

    # Writing to Optuna

    def _write(self) -> None:
        """Tells Optuna what is new and takes the next trials: one transaction, if there is need."""
        now = time.monotonic()
        run_ids = {id(handed): Cursor.load(handed.row.folder).run_id for handed in self._untold}
        due = [each for each in self._untold if run_ids[id(each)] or now >= each.tell_by]
        reporting = [each for each in self._running.values() if each.curve]
        if not (due or self._num_free(now) or (reporting and now >= self._report_at)):
            return
        with runtime.uninterrupted():
            with self._ledger.exclusive():
                for handed in [*reporting, *due]:
                    self._report(handed)
                for handed in due:
                    self._tell(handed, run_ids[id(handed)])
                taken = self._take(self._num_free(now))
            self._untold = [handed for handed in self._untold if handed not in due]
            self._report_at = now + SECONDS_BETWEEN_REPORTS
            for handed in taken:
                future = self.slots.submit(handed.overrides, handed.trial.number)
                self._running[future] = handed
        self.slots.flush()

    def _num_free(self, now: float) -> int:
        """How many trials can be handed out, or at least be looked for."""
        if now >= self._give_up or now < self._look_at:
            return 0
        may_be_ahead = self._are_short and self.space.is_finite  # a search awaits what comes out
        wanted = self.slots.num_slots + (self.slots.num_ahead if may_be_ahead else 0)
        return wanted - len(self._running)

    def _take(self, number: int) -> list[_Handed]:
        taken: list[_Handed] = []
        while len(taken) < number:
            trial = self.plan.next()
            if trial is None:
                self._look_at = time.monotonic() + SECONDS_BETWEEN_LOOKS
                break
            taken.append(self._hand(trial))
        return taken

    def _hand(self, trial: optuna.Trial) -> _Handed:
        handed = self._handed(trial)
        handed.follower.wait()
        row = handed.row
        row.attempt += 1
        told = {OWNER: self._owner.told, "folder": str(row.folder), "attempt": row.attempt}
        self._ledger.note(trial, told)
        if known := self.rows.get(trial.number):  # an attempt before this one
            self._outcomes[known.outcome] -= 1
        self.rows[trial.number] = row
        return handed

    def _handed(self, trial: optuna.Trial) -> _Handed:
        overrides = self.space.overrides(trial.params)
        row = Row(trial.number, trial.params, self._folder_of(trial.number, overrides))
        row.attempt = trial.user_attrs.get("attempt", 0)
        follower = Follower(row)
        return _Handed(trial, overrides, follower, self._curve(follower.past))

    def _report(self, handed: _Handed) -> None:
        if handed.curve:
            self._ledger.report(handed.trial, handed.curve)
            handed.curve = {}

    def _tell(self, handed: _Handed, run_id: str) -> None:
        trial, row = handed.trial, handed.row
        assert row.outcome is not None
        told = {"outcome": row.outcome.word, "reason": row.reason, "seconds": round(row.seconds, 3)}
        if run_id:
            told["mlflow_run_id"] = run_id
        if row.outcome is Outcome.COMPLETE:
            told["values"] = row.values
            for constraint in self.goals.constraints:
                trial.set_constraint(constraint.name, constraint.excess(row.values))
        if row.outcome is Outcome.INTERRUPTED:
            told["attempt"] = row.attempt - 1
        self._ledger.note(trial, told)
        state = TrialState[row.outcome.optuna_state]
        if row.outcome.is_failure and row.attempt >= self.rules.max_attempts:
            state = TrialState.FAIL
        if state is TrialState.WAITING:
            self.plan.put_back(trial)
            self._look_at = 0.0
        else:
            is_complete = row.outcome is Outcome.COMPLETE
            values = self.goals.values_of(row.values) if is_complete else None
            self.study.tell(trial, values, state=state)

    def _stop(self) -> None:
        self._give_up = -math.inf
        self.slots.ask_to_stop()
        give_up = time.monotonic() + STOP_SECONDS
        try:
            while (self._running or self._untold) and time.monotonic() < give_up:
                self._turn()
        except KeyboardInterrupt:
            pass
        self.slots.close()
        for handed in self._running.values():
            row = handed.row
            row.outcome, row.reason = Outcome.INTERRUPTED, f"stopped after step {row.step}"
            settle(row.folder, outcome=row.outcome.word, reason=row.reason)
            self._end(handed)
        self._running = {}
        for handed in self._untold:
            handed.tell_by = 0.0
        self._write()


def values_of(row: Row) -> dict[str, float]:
    """Of a complete trial."""
    return row.values


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state.is_finished()]


def _words_of(failure: Any) -> str:
    """The exception of a job that failed before it had a record: its config did not compose."""
    if not isinstance(failure, BaseException):
        try:
            with redirect_stderr(StringIO()):  # Hydra prints there before it raises
                return f"it returned {failure.return_value!r} and left no record"
        except Exception as error:
            failure = error
    return " ".join(f"{type(failure).__name__}: {failure}".split())
