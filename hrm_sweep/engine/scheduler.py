"""Scheduler: the loop that keeps every slot of the launcher busy with the next trial of the queue.

One turn: wait until a trial ends or a tick is over, read what running trials have written, exchange
results for new trials with Optuna in one transaction, submit those, let the observers look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from hrm_sweep.engine.attributes import OWNER
from hrm_sweep.engine.endings import ending, write_missing_record
from hrm_sweep.engine.guarded import GuardedObserver
from hrm_sweep.engine.interfaces import Clock, Observer, Outliving, Slots
from hrm_sweep.engine.open_study import OpenStudy
from hrm_sweep.engine.state import StudyState
from hrm_sweep.engine.study_sync import InFlightTrial, StudySync
from hrm_sweep.errors import (
    DatabaseAway,
    Hopeless,
    MachineFault,
    NoWorkers,
    RecordError,
    StudyError,
)
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.handle import STOPPED_AFTER, STOPPED_BY_FAULT
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import has_advanced, read, write_end
from hrm_sweep.storage.retry import RetryPolicy
from hrm_sweep.system import machine, process

TICK_SECONDS = 0.1
SECONDS_BETWEEN_REPORTS = 1.0
"""Age that the curve of a running trial may reach in Optuna."""
SECONDS_BETWEEN_QUERIES = 1.0
"""How often an empty queue is asked again, as another sweep may have put a trial back, and the ends
of trials of other sweeps are read, where patience counts them."""
SHORT_SECONDS = 10.0
"""Trials shorter than that are taken ahead, so that no worker waits for the next one. Longer ones
are not: another sweep on the study may be free first."""
SLOTS_OF_A_PROPOSAL = 8
"""So many slots have one proposal ahead, made while all are busy. It is used after as many others
at most, so that it lacks the results of an eighth of the slots, where all lack those of the trials
in flight. With fewer slots there is none: a proposal knows every result."""
ENDED_BEFORE_FAILURE_RATE = 4
STOP_SECONDS = 10.0
"""How long Ctrl-C waits for running trials to reach their next report."""


class Scheduler:
    """Loop of one sweep.

    Args:
        opened: the study; its lease is released at the end.
        state: kept up to date while the loop runs; observers get it.
        slots: closed at the end.
        observers: called in this order.

    Attributes:
        jobs: futures of the jobs that returned, by trial number.
    """

    def __init__(
        self,
        opened: OpenStudy,
        state: StudyState,
        slots: Slots,
        observers: Sequence[Observer],
        clock: Clock,
    ) -> None:
        self.jobs: dict[int, Future[Any]] = {}
        self._opened, self._config = opened, opened.config
        self._state, self._slots, self._clock = state, slots, clock
        self._observers = [GuardedObserver(observer) for observer in observers]
        self._sync = StudySync(opened)
        # trials that a pruner judges wait while the database is asked
        times_of_a_try = 9 if opened.has_pruner else 1
        self._retry = RetryPolicy(times_of_a_try, monotonic=clock.monotonic)
        self._in_flight: dict[Future[Any], InFlightTrial] = {}
        self._pending_tells: list[InFlightTrial] = []
        self._is_stopping = False
        self._fault = ""
        """Of the machine, where a trial has met one."""
        self._are_short = False
        """Whether the trial that ended last was a short one."""
        self._tick_at = self._report_at = self._query_at = self._look_at = 0.0
        self._deadline = clock.monotonic() + (self._config.timeout or math.inf)
        """When no further trial is started."""

    def run(self) -> None:
        """Run trials until the queue is empty.

        Raises:
            DatabaseAway: it does not answer, and nothing is left to do without it. Results that it
                lacks are written when the study is resumed.
            Hopeless: too many trials fail; the running ones were stopped.
            NoWorkers: the launcher cannot start any; trials wait.
            StudyError: the custom search space or the pruner raised; running trials were stopped.
            MachineFault, OSError, RecordError: a disk is full or gone; the trials that met it wait.
            KeyboardInterrupt: Ctrl-C. Running trials have stopped at their next report and are put
                back; a second Ctrl-C does not wait for them. Or the user leaves them to a cluster.
        """
        for observer in self._observers:
            observer.begin(self._state)
        try:
            process.raise_again()
            with process.defer_interrupts():
                self._recover()
                self._check_patience()
                self._exchange()
            while self._in_flight or self._pending_tells or self._retry.trouble:
                self._turn()
                if not self._in_flight:
                    self._retry.wait()
        except KeyboardInterrupt:
            if isinstance(self._slots, Outliving) and self._slots.leave():
                self._leave()
            else:
                self._stop()
            raise
        except (Hopeless, NoWorkers, MachineFault, StudyError):
            self._stop()
            raise
        except (OSError, RecordError) as error:
            if machine.fault_of(error):
                self._stop()
            raise
        except DatabaseAway:
            self._state.is_abandoned = True
            raise
        finally:
            self._end()

    def _end(self) -> None:
        self._slots.close()
        self._opened.lease.release()
        self._look_at = 0.0
        for observer in self._observers:
            with process.defer_interrupts():
                if self._clock.monotonic() >= self._look_at:
                    self._read_other_sweeps()  # they continue while an observer ends
            observer.end()

    def _read_other_sweeps(self) -> None:
        """Add what other sweeps have ended and still run: results are those of the whole study."""
        self._read_ends_elsewhere()
        if not self._retry.trouble:
            with self._retry.asking():
                self._state.others = self._sync.running_of_others()

    def _read_ends_elsewhere(self) -> None:
        self._look_at = self._clock.monotonic() + SECONDS_BETWEEN_QUERIES
        if not self._retry.trouble:
            with self._retry.asking():
                found = self._sync.finished(besides=self._state.ended)
                self._state.ended |= {trial.number: trial for trial in found}

    def _recover(self) -> None:
        """Take over trials of dead sweeps.

        Those whose jobs live continue, those that had ended get their result, others wait.
        """
        if isinstance(self._slots, Outliving):
            for future, flight in self._sync.adopt(self._slots.adopt).items():
                self._follow(future, flight)
        for flight in self._sync.recover():
            trial = flight.progress
            write_end(trial.folder, has_ended=True)
            flight.read()
            if trial.outcome is None or flight.was_told:
                trial.await_attempt()  # the attempt that was taken had not begun
                trial.outcome = Outcome.INTERRUPTED
            elif trial.outcome is Outcome.KILLED and not self._has_died(
                flight.trial.user_attrs[OWNER]
            ):
                trial.outcome = Outcome.INTERRUPTED  # with a sweep that had to stop
            elif trial.outcome.is_failure:
                trial.has_advanced = has_advanced(read(trial.folder))
            self._end_trial(flight)

    def _has_died(self, owner: Mapping[str, str]) -> bool:
        """Return whether a sweep died without a word; a full disk, say, lets it release its lease.

        Args:
            owner: its lease.
        """
        is_given_up = owner.get("host") == self._config.take_from is not None
        return is_given_up or owner.get("lock") in self._opened.lease.buried

    def _turn(self) -> None:
        """Run one turn of the loop; Ctrl-C waits for its end, so that no lock stays taken."""
        self._slots.flush(
            self._watch
        )  # a stock launcher runs its batch in it, and has Ctrl-C itself
        with process.defer_interrupts():
            done: set[Future[Any]] = set()
            if self._in_flight:
                events = [*self._in_flight, self._slots.questions.has_some]
                done = self._clock.wait(events, TICK_SECONDS) & self._in_flight.keys()
            else:
                self._clock.sleep(TICK_SECONDS)
            is_tick = self._is_tick()
            if is_tick:
                self._read()
            for future in done:
                self._end_job(future)
            if is_tick or self._slots.questions.has_some.done():
                self._judge()
            if done:
                self._check_patience()
            self._exchange()
            if not done:
                self._propose_ahead()
            if is_tick:
                self._show()
        self._check_failure_rate()
        self._check_machine()

    def _is_tick(self) -> bool:
        """Return whether a tick is over, however many trials have ended in it."""
        now = self._clock.monotonic()
        if now < self._tick_at:
            return False
        self._tick_at = now + TICK_SECONDS
        return True

    def _read(self) -> None:
        for flight in self._in_flight.values():
            flight.read()

    def _show(self) -> None:
        for observer in self._observers:
            observer.tick()

    def _check_patience(self) -> None:
        """Start no further trial if the last ones, of all sweeps, have brought no new best."""
        patience, state = self._config.patience, self._state
        if patience is None or state.is_closed:
            return
        if self._clock.monotonic() >= self._look_at:
            self._read_ends_elsewhere()
        if state.num_left and state.num_since_best >= patience:
            self._read_ends_elsewhere()  # one of another sweep may be the best since a moment ago
            state.is_closed = state.is_out_of_patience = state.num_since_best >= patience

    def _judge(self) -> None:
        """Let trials that ask continue, or end as pruned; without the database all continue."""
        running = {flight.progress.number: flight for flight in self._in_flight.values()}
        folders = {number: flight.progress.folder for number, flight in running.items()}
        asked = self._slots.questions.take(folders)
        flights = [running[number] for number in asked if number in running]
        pruned: set[int] = set()
        try:
            if flights and not (self._retry.trouble or self._is_stopping):
                for flight in flights:
                    flight.read()
                with self._retry.asking():
                    pruned = self._sync.judge(flights)
        finally:
            for number, step in asked.items():
                reason = f"pruned after step {step}" if number in pruned else ""
                self._slots.answer(number, step, reason)

    def _watch(self) -> None:
        """Follow the running trials, while the launcher has this thread of the loop."""
        self._read()
        self._judge()
        self._show()

    def _check_machine(self) -> None:
        if self._fault and not self._is_stopping:
            raise MachineFault(self._fault)

    def _check_failure_rate(self) -> None:
        limit, ended = self._config.max_failure_rate, len(self._state.ended)
        if limit is None or self._is_stopping:
            return
        if limit and ended < ENDED_BEFORE_FAILURE_RATE:
            return
        if (failed := self._state.num_failed) > limit * ended:
            raise Hopeless(
                f"{failed} of {ended} trials failed, more than "
                f"hydra.sweeper.max_failure_rate={limit}; their reasons are above"
            )

    def _end_job(self, future: Future[Any]) -> None:
        """End the trial of a job that is done, by its record if that has an outcome."""
        flight = self._in_flight.pop(future)
        trial = flight.progress
        if future.exception() is None:
            self.jobs[trial.number] = future
        flight.read()
        was_open = trial.outcome is None
        if was_open:
            self._set_outcome(flight, *ending(trial, future))
        if trial.reason.startswith(STOPPED_BY_FAULT):
            fault = trial.reason.removeprefix(STOPPED_BY_FAULT)
            self._fault = f"{fault} (met by trial {trial.number})"
        elif trial.outcome is Outcome.INTERRUPTED and not self._is_stopping and not was_open:
            if future.exception() is not None:  # the launcher knows who stopped it
                trial.outcome, trial.reason = ending(trial, future)
            else:
                is_asked = trial.reason.startswith(STOPPED_AFTER)  # its worker has had a SIGTERM
                # otherwise it raised that by itself, and would again
                trial.outcome = Outcome.KILLED if is_asked else Outcome.FAILED
        self._are_short = trial.seconds < SHORT_SECONDS
        self._end_trial(flight)

    def _set_outcome(self, flight: InFlightTrial, outcome: Outcome, reason: str) -> None:
        """Set the outcome of a trial that has written none; it may be impossible to write it."""
        try:
            flight.set_outcome(outcome, reason)
        except RecordError as error:
            if not (fault := machine.fault_of(error)):
                raise
            flight.progress.outcome = Outcome.INTERRUPTED
            flight.progress.reason = f"{STOPPED_BY_FAULT}{fault}"

    def _end_trial(self, flight: InFlightTrial) -> None:
        """Move a trial from those in flight to those that ended; Optuna gets the result later."""
        trial = flight.progress
        trial.goes_back = self._sync.will_retry(trial)
        self._state.in_flight.pop(trial.number, None)
        if trial.has_begun or trial.outcome is not Outcome.INTERRUPTED:
            if not trial.has_begun:
                write_missing_record(trial, self._opened.tags, flight.overrides)
            self._state.ended[trial.number] = trial
            for observer in self._observers:
                observer.trial_ended(trial)
        self._pending_tells.append(flight)

    def _exchange(self) -> None:
        """Exchange results for new trials with Optuna, if there are any or a slot is free."""
        now = self._clock.monotonic()
        for flight in self._pending_tells:
            flight.run_id = ExportState.load(flight.progress.folder).run_id
        ended = list(self._pending_tells)
        if any(flight.progress.goes_back for flight in ended):
            self._query_at = 0.0
        reporting = [flight for flight in self._in_flight.values() if flight.unreported]
        wanted = self._num_wanted(now)
        is_due = ended or wanted or self._retry.trouble or (reporting and now >= self._report_at)
        if is_due and self._retry.has_time:
            with self._retry.asking():
                self._commit(reporting, ended, wanted)
        self._update_state()

    def _propose_ahead(self) -> None:
        """Propose a trial for a worker that will be free, if there are workers enough for that."""
        num = self._slots.num_slots // SLOTS_OF_A_PROPOSAL
        if num and not (self._state.is_closed or self._is_stopping or self._retry.trouble):
            with self._retry.asking():
                self._opened.queue.prepare(num)

    def _commit(
        self, reporting: list[InFlightTrial], ended: list[InFlightTrial], wanted: int
    ) -> None:
        known = [*self._in_flight.values(), *self._pending_tells]
        taken = self._sync.commit(reporting=reporting, ended=ended, known=known, wanted=wanted)
        now = self._clock.monotonic()
        self._report_at = now + SECONDS_BETWEEN_REPORTS
        if len(taken) < wanted:
            self._query_at = now + SECONDS_BETWEEN_QUERIES
        self._pending_tells = [flight for flight in self._pending_tells if flight not in ended]
        for flight in taken:
            self._follow(self._slots.submit(flight.overrides, flight.progress.number), flight)

    def _follow(self, job: Future[Any], flight: InFlightTrial) -> None:
        trial = flight.progress
        self._state.ended.pop(trial.number, None)  # an earlier attempt
        self._state.in_flight[trial.number] = trial
        self._in_flight[job] = flight

    def _num_wanted(self, now: float) -> int:
        """Return how many trials to ask the queue for."""
        if now >= self._deadline:
            self._state.is_closed = True
        if self._state.is_closed or now < self._query_at:
            return 0
        needs_results = not self._opened.queue.is_grid or self._config.patience is not None
        is_ahead = self._are_short and not needs_results
        places = self._slots.num_slots + (self._slots.num_ahead if is_ahead else 0)
        return max(0, places - len(self._in_flight))

    def _update_state(self) -> None:
        self._state.num_slots = self._slots.num_slots
        self._state.num_pending_tells = len(self._pending_tells)
        self._state.database_error = self._retry.trouble.reason if self._retry.trouble else ""

    def _leave(self) -> None:
        """End without the running trials, whose jobs continue; the next sweep adopts them."""
        self._state.is_closed = self._is_stopping = True
        with process.defer_interrupts():
            for future in [future for future in self._in_flight if future.done()]:
                self._end_job(future)
            self._in_flight, self._state.in_flight = {}, {}
            self._exchange()

    def _stop(self) -> None:
        """Let running trials end at their next report; interrupt those that do not in time."""
        self._state.is_closed = self._state.is_stopping = self._is_stopping = True
        self._slots.ask_to_stop()
        for observer in self._observers:
            observer.tick()  # the user sees at once that it is heard
        give_up = self._clock.monotonic() + STOP_SECONDS
        try:
            while self._in_flight or (self._pending_tells and not self._retry.trouble):
                if self._clock.monotonic() > give_up:
                    break
                self._turn()
        except KeyboardInterrupt:
            pass
        with process.defer_interrupts():
            self._slots.close()
            for flight in self._in_flight.values():
                flight.read()
                if flight.progress.outcome is None:
                    reason = f"{STOPPED_AFTER} {flight.progress.step}"
                    self._set_outcome(flight, Outcome.INTERRUPTED, reason)
                self._end_trial(flight)
            self._in_flight = {}
            self._exchange()
