"""Slots made of a stock Hydra launcher, which takes a batch and returns nothing before its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from hrm_sweep.errors import BatchLost, Interrupted
from hrm_sweep.runs.questions import FolderQuestions
from hrm_sweep.system.process import usable_cores

STOPPED = "stopped by Ctrl-C"

SECONDS_BETWEEN_LOOKS = 0.01
"""Trials that a pruner judges wait for as long after a report."""


class _Job(NamedTuple):
    overrides: list[str]
    number: int
    future: Future[JobReturn]


class BatchAdapter:
    """Slots that collect up to `num_slots` jobs and launch them together.

    A launcher that raises for a batch does not say for which of its jobs. It gets the next job
    alone, and larger batches again as they succeed.

    Args:
        num_slots: most jobs in a batch.
    """

    def __init__(self, launcher: Launcher, *, num_slots: int) -> None:
        self.num_slots, self.num_ahead = num_slots, 0
        self.questions = FolderQuestions()
        self._launcher, self._most = launcher, num_slots
        self._collected: list[_Job] = []

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[JobReturn]:
        """Put a job into the next batch."""
        job = _Job(list(overrides), job_idx, Future())
        self._collected.append(job)
        return job.future

    def flush(self, watch: Callable[[], None]) -> None:
        """Launch the collected jobs, in a batch for each run of consecutive numbers; block.

        Args:
            watch: called from another thread until they have ended.
        """
        jobs, self._collected = self._collected, []
        try:
            for batch in _consecutive(jobs):
                with _called_meanwhile(watch):
                    self._launch(batch)
        finally:
            _fail(jobs, Interrupted(STOPPED))

    def _launch(self, batch: list[_Job]) -> None:
        try:
            returns = self._launcher.launch([job.overrides for job in batch], batch[0].number)
        except Exception as error:
            self.num_slots = 1
            reason = f"the launcher raised {type(error).__name__}: {error}"
            _fail(batch, BatchLost(reason) if len(batch) > 1 else error)
            return
        self.num_slots = min(2 * self.num_slots, self._most)
        for job, returned in zip(batch, returns, strict=True):
            job.future.set_result(returned)

    def answer(self, number: int, step: int, prune: str) -> None:  # noqa: ARG002
        """Answer the last question of a trial."""
        self.questions.answer(number, prune)

    def ask_to_stop(self) -> None:
        """Drop the collected jobs. Launched ones have had the terminal's Ctrl-C themselves."""
        _fail(self._collected, Interrupted(STOPPED))
        self._collected = []

    def close(self) -> None:
        """Do nothing: a stock launcher ends its own processes."""


def batch_width(config: Mapping[str, Any]) -> int:
    """Return how many jobs a stock launcher runs at once, as far as its config says that.

    Args:
        config: `hydra.launcher`, of joblib or submitit; any other one counts as one at a time.
    """
    cores = usable_cores()
    if (num_jobs := config.get("n_jobs")) is not None:
        return int(num_jobs) if num_jobs > 0 else max(1, cores + 1 + int(num_jobs))
    if "cpus_per_task" not in config:
        return 1
    return int(config.get("array_parallelism") or max(1, cores // (config["cpus_per_task"] or 1)))


@contextmanager
def _called_meanwhile(watch: Callable[[], None]) -> Iterator[None]:
    """Call a function every now and then in a thread of its own until the block ends.

    The launcher has the main thread: it may change what belongs to the whole process.
    """
    has_ended = threading.Event()

    def look() -> None:
        while not has_ended.wait(SECONDS_BETWEEN_LOOKS):
            with suppress(Exception):  # whoever owns `watch` meets that again when the block ends
                watch()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


def _consecutive(jobs: list[_Job]) -> Iterator[list[_Job]]:
    """Yield the jobs in parts whose numbers are consecutive."""
    while jobs:
        length = next(
            (n for n in range(1, len(jobs)) if jobs[n].number != jobs[0].number + n), len(jobs)
        )
        yield jobs[:length]
        jobs = jobs[length:]


def _fail(jobs: list[_Job], error: Exception) -> None:
    """Set the exception of those futures that are not done."""
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(error)
