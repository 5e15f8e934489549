"""The engine: keeps every slot of the launcher busy with the next trial of the plan."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import optuna
from optuna.trial import TrialState

from hrm_sweep.errors import Hopeless, TimedOut, WorkerDied
from hrm_sweep.outcomes import Outcome
from hrm_sweep.study.ledger import Ledger
from hrm_sweep.study.owners import Owner
from hrm_sweep.study.plan import Plan
from hrm_sweep.study.space import Space
from hrm_sweep.tracking.cursor import Cursor
from hrm_sweep.tracking.record import RecordReader, last_step, settle, values_of

TICK_SECONDS = 0.1
SECONDS_FOR_RUN_ID = 10.0
"""How long a trial that has ended waits for its run in MLflow before Optuna is told."""
ENDED_BEFORE_HOPE_IS_LOST = 4
STOP_SECONDS = 10.0
"""How long Ctrl-C waits for running trials to reach their next report."""


class Slots(Protocol):
    """Where trials run: see `hrm_sweep.launch`."""

    num_slots: int

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[Any]: ...
    def flush(self) -> None: ...
    def ask_to_stop(self) -> None: ...
    def close(self) -> None: ...


@dataclass
class Row:
    """One trial as a person follows it."""

    number: int
    params: Mapping[str, Any]
    folder: Path
    begin: float
    """`time.monotonic()` when it was handed out."""
    attempt: int = 1
    seconds: float = 0.0
    step: int = 0
    num_steps: int | None = None
    pace: float | None = None
    """Seconds a step takes, from the second step on."""
    values: dict[str, float] = field(default_factory=dict)
    """The newest measurement; the final values once the trial is complete."""
    outcome: Outcome | None = None
    """None while it runs."""
    reason: str = ""


class Observer(Protocol):
    """Watches a study from its first trial to its last: the screen, the projector."""

    def begin(self, engine: Engine) -> None: ...
    def tick(self) -> None: ...
    def settled(self, row: Row) -> None: ...
    def end(self) -> None: ...


class _Clock:
    """How long a step takes, once there are two of them; starting up does not count."""

    def __init__(self) -> None:
        self._first: tuple[int, int] | None = None

    def pace(self, step: int, time_ms: int) -> float | None:
        """Seconds for a step, up to this one."""
        if self._first is None:
            self._first = step, time_ms
        first_step, first_ms = self._first
        return (time_ms - first_ms) / 1000 / (step - first_step) if step > first_step else None


class _Running(NamedTuple):
    trial: optuna.Trial
    row: Row
    reader: RecordReader
    clock: _Clock
    tell_by: float = 0.0
    """`time.monotonic()` when Optuna is told at the latest, once the trial has ended."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a study is judged and when it gives up."""

    objective: str
    """Name of the value that a trial is told with."""
    tie_breaker: str | None
    """Name of a value that is lower for the better of two equal trials."""
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
        rules: Rules,
        slots: Slots,
        folder: Path,
        folder_of: Callable[[int, list[str]], Path],
        observers: Sequence[Observer],
    ) -> None:
        self.study, self.space, self.plan, self.rules = study, space, plan, rules
        self.slots, self.folder = slots, folder
        self.objective = rules.objective
        self.rows: dict[int, Row] = _rows_of_the_past(study)
        self.returns: dict[int, Any] = {}
        """What the launcher gave back, by trial number."""
        self._ledger, self._folder_of, self._observers = ledger, folder_of, observers
        self._running: dict[Future[Any], _Running] = {}
        self._untold: list[_Running] = []
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

    def best(self) -> list[Row]:
        """Complete trials, the best first; in the end the order is that of the plan."""
        sign = -1 if self.study.direction.name == "MAXIMIZE" else 1

        def rank(row: Row) -> tuple[float, float, int]:
            tie = row.values.get(self.rules.tie_breaker, 0.0) if self.rules.tie_breaker else 0.0
            return sign * row.values[self.objective], tie, row.number

        complete = [row for row in self.rows.values() if row.outcome is Outcome.COMPLETE]
        return sorted(complete, key=rank)

    def outcomes(self) -> dict[Outcome, int]:
        """How many trials have ended how, in the order of the table of outcomes."""
        counted = Counter(row.outcome for row in self.rows.values())
        return {outcome: counted[outcome] for outcome in Outcome if counted[outcome]}

    def _run(self) -> None:
        for lost in self.plan.recover(self.folder):
            if "folder" in lost.user_attrs:
                settle(Path(lost.user_attrs["folder"]))
        self._fill()
        while self._running or self._untold:
            self._turn()
            self._check_hope()
            self._fill()

    def _check_hope(self) -> None:
        ended = [row for row in self.rows.values() if row.outcome is not None]
        failed = sum(row.outcome.is_failure for row in ended if row.outcome is not None)
        if self.rules.max_failure_rate is None or len(ended) < ENDED_BEFORE_HOPE_IS_LOST:
            return
        if failed > self.rules.max_failure_rate * len(ended):
            raise Hopeless(
                f"{failed} of {len(ended)} trials failed, more than "
                f"study.max_failure_rate={self.rules.max_failure_rate}; their reasons are above"
            )

    def _turn(self) -> None:
        done: set[Future[Any]] = set()
        if self._running:
            done, _ = wait(self._running, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
        else:
            time.sleep(TICK_SECONDS)
        for running in self._running.values():
            self._follow(running)
        for future in done:
            self._settle(future)
        self._tell_those_with_a_run_id()
        for observer in self._observers:
            observer.tick()

    def _fill(self) -> None:
        while len(self._running) < self.slots.num_slots and time.monotonic() < self._give_up:
            trial = self.plan.next(self._owner.name)
            if trial is None:
                break
            self._hand_out(trial)
        self.slots.flush()

    def _hand_out(self, trial: optuna.Trial) -> None:
        overrides = self.space.overrides(trial.params)
        folder = self._folder_of(trial.number, overrides)
        row = Row(trial.number, trial.params, folder, begin=time.monotonic())
        row.attempt = trial.user_attrs.get("attempt", 0) + 1
        trial.set_user_attr("folder", str(folder))
        trial.set_user_attr("attempt", row.attempt)
        self.rows[trial.number] = row
        reader = RecordReader(folder)
        row.step = last_step(reader.new_entries())
        future = self.slots.submit(overrides, trial.number)
        self._running[future] = _Running(trial, row, reader, _Clock())

    def _follow(self, running: _Running) -> None:
        """Reads what the trial wrote since: for the screen, and for Optuna's curves."""
        row = running.row
        for entry in running.reader.new_entries():
            if entry.event == "expected":
                row.num_steps = entry.fields["num_steps"]
            elif entry.event == "metrics":
                row.step, row.values = entry.fields["step"], values_of(entry)
                row.pace = running.clock.pace(row.step, entry.time_ms)
                if self.rules.reports and self.objective in row.values:
                    running.trial.report(row.values[self.objective], row.step)
            elif entry.event == "finished":
                row.outcome = Outcome.named(entry.fields["outcome"])
                row.reason, row.values = entry.fields["reason"], entry.fields["best"] or row.values

    def _settle(self, future: Future[Any]) -> None:
        """The record says how a run ended, unless it ended before its record or without a word."""
        running = self._running.pop(future)
        row = running.row
        row.seconds = time.monotonic() - row.begin
        error = future.exception()
        if error is None:
            self.returns[row.number] = future.result()
        self._follow(running)
        if isinstance(error, (WorkerDied, TimedOut)):
            row.outcome = Outcome.KILLED if isinstance(error, WorkerDied) else Outcome.TIMED_OUT
            row.reason = str(error)
            settle(row.folder, outcome=row.outcome.word, reason=row.reason)
        elif row.outcome is None:
            row.outcome, row.reason = Outcome.FAILED, _words_of(error or self.returns[row.number])
        for observer in self._observers:
            observer.settled(row)
        patience = SECONDS_FOR_RUN_ID if self.rules.is_tracked else 0
        self._untold.append(running._replace(tell_by=time.monotonic() + patience))

    def _tell_those_with_a_run_id(self) -> None:
        """Optuna takes no attributes for a trial that is told, so that waits for the run id; a
        tracker that is slow or down does not keep it waiting long."""
        for running in list(self._untold):
            run_id = Cursor.load(running.row.folder).run_id
            if run_id:
                running.trial.set_user_attr("mlflow_run_id", run_id)
            if run_id or time.monotonic() >= running.tell_by:
                self._untold.remove(running)
                self._tell(running.trial, running.row)

    def _tell(self, trial: optuna.Trial, row: Row) -> None:
        assert row.outcome is not None
        complete = row.outcome is Outcome.COMPLETE
        trial.set_user_attr("outcome", row.outcome.word)
        trial.set_user_attr("reason", row.reason)
        trial.set_user_attr("seconds", round(row.seconds, 3))
        if complete:
            trial.set_user_attr("values", row.values)
        state = TrialState[row.outcome.optuna_state]
        if row.outcome.is_failure and row.attempt >= self.rules.max_attempts:
            state = TrialState.FAIL
        if row.outcome is Outcome.INTERRUPTED:
            trial.set_user_attr("attempt", row.attempt - 1)
        if state is TrialState.WAITING:
            self._ledger.put_back(trial)
        else:
            value = row.values[self.objective] if complete else None
            self.study.tell(trial, value, state=state)

    def _stop(self) -> None:
        self.slots.ask_to_stop()
        give_up = time.monotonic() + STOP_SECONDS
        try:
            while (self._running or self._untold) and time.monotonic() < give_up:
                self._turn()
        except KeyboardInterrupt:
            pass
        self.slots.close()
        for running in self._untold:
            self._tell(running.trial, running.row)
        for running in self._running.values():
            row = running.row
            row.outcome, row.reason = Outcome.INTERRUPTED, f"stopped after step {row.step}"
            settle(row.folder, outcome=row.outcome.word, reason=row.reason)
            self._tell(running.trial, row)


def _rows_of_the_past(study: optuna.Study) -> dict[int, Row]:
    """Trials that had ended when the study was opened."""
    return {
        trial.number: Row(
            trial.number,
            trial.params,
            Path(trial.user_attrs["folder"]),
            begin=0.0,
            seconds=trial.user_attrs.get("seconds", 0.0),
            values=trial.user_attrs.get("values", {}),
            outcome=Outcome.named(trial.user_attrs["outcome"]),
            reason=trial.user_attrs.get("reason", ""),
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished()
    }


def _words_of(failure: Any) -> str:
    """The exception of a job that failed before it had a record: its config did not compose."""
    if not isinstance(failure, BaseException):
        try:
            with redirect_stderr(StringIO()):  # Hydra prints there before it raises
                return f"it returned {failure.return_value!r} and left no record"
        except Exception as error:
            failure = error
    return " ".join(f"{type(failure).__name__}: {failure}".split())
