"""Contracts of the scheduler: where trials run, who watches, and what time it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Protocol, runtime_checkable

from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.runs.questions import Questions
from hrm_sweep.runs.tickets import Adopted


class Slots(Protocol):
    """Places where jobs run: a Hydra launcher that takes single jobs, or an adapter to one.

    The scheduler calls every method from its own thread. Futures may be resolved by any thread. A
    method that raises ends the study; what goes wrong with one job belongs into its future.
    """

    num_slots: int
    """Jobs that run at once. May change between two calls."""
    num_ahead: int
    """Jobs beyond `num_slots` that may wait for a slot."""

    @property
    def questions(self) -> Questions:
        """Trials that wait for the verdict of the pruner."""
        ...

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[Any]:
        """Accept a job; return at once.

        The job writes its record into the folder that Hydra gives it. Its future resolves after the
        last write, to Hydra's `JobReturn` (whose `return_value` raises what the task raised) or to

        * `WorkerDied`: the process of the job is gone; the trial may be started again.
        * `TimedOut`: the job took too long and was ended; the trial may be started again.
        * `Interrupted`: the job was not begun, because of `ask_to_stop`.
        * `BatchLost`: the launcher raised for several jobs; their records show how far they came.
        * any other exception: the launcher raised for this job alone.

        Args:
            overrides: task overrides of the job.
            job_idx: Hydra's job number, which is the trial's. A later attempt has the same number.
        """
        ...

    def flush(self, watch: Callable[[], None]) -> None:
        """Start the jobs submitted since the last call, where the launcher wants them together.

        Called after each round of `submit`, also an empty one. May block until the jobs end.

        Args:
            watch: called every now and then as long as this blocks, from another thread.
        """
        ...

    def answer(self, number: int, step: int, prune: str) -> None:
        """Let a trial continue after a step; `prune` is a reason to end it instead, or ""."""
        ...

    def ask_to_stop(self) -> None:
        """Ask running jobs to end at their next report, and drop those not begun. Idempotent."""
        ...

    def close(self) -> None:
        """End everything that was started, running jobs included. Idempotent.

        No future needs to be resolved any more.
        """
        ...


@runtime_checkable
class Outliving(Protocol):
    """What slots offer beside `Slots` whose jobs may outlive the sweep, as in a cluster's queue."""

    def adopt(self, number: int) -> Adopted | None:
        """Follow the last job that a sweep in this study folder has submitted for a trial.

        Called inside a transaction of the database; returns at once.

        Returns:
            None: no such job is known, and none begins from now on.
        """
        ...

    def leave(self) -> bool:
        """Return whether the user, who has interrupted the sweep, lets running jobs continue.

        Then `close` ends none of them.
        """
        ...


class Observer(Protocol):
    """Watcher of a study: the live view, the study's record, the exporter.

    Calls come one at a time, in this order: `begin` once; `tick` ten times a second, and
    from another thread while a stock launcher runs a batch in the scheduler's; `trial_ended` once
    for each attempt that ended; `end` once, also when the study was stopped or failed. An
    `HrmSweepError` ends the study, any other exception is printed once.
    """

    def begin(self, state: StudyState) -> None:
        """Keep the state: the scheduler updates this one object, and observers only read it."""
        ...

    def tick(self) -> None:
        """Look at the state. Called at least ten times a second while trials run; be quick."""
        ...

    def trial_ended(self, trial: TrialProgress) -> None:
        """Take note of an attempt that has ended: `trial.outcome` is set and counted."""
        ...

    def end(self) -> None:
        """Finish. The state has been brought up to date with other sweeps on the study."""
        ...


class Clock(Protocol):
    """Source of time for whatever waits; a test has one that does not."""

    def monotonic(self) -> float:
        """Return seconds since some fixed moment."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        ...

    def wait(self, futures: Collection[Future[Any]], timeout: float) -> set[Future[Any]]:
        """Return the resolved ones as soon as there is one; none after `timeout` seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def wait(self, futures: Collection[Future[Any]], timeout: float) -> set[Future[Any]]:
        """Wait by `concurrent.futures.wait`."""
        return wait(futures, timeout=timeout, return_when=FIRST_COMPLETED).done
