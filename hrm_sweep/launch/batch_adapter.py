"""Stock Hydra launchers as slots: they take a batch and give nothing back before its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from hrm_sweep.errors import BatchLost, Interrupted

STOPPED = "stopped by Ctrl-C"


class _Job(NamedTuple):
    overrides: list[str]
    number: int
    future: Future[JobReturn]


class BatchAdapter:
    """Collects up to `num_slots` jobs and launches them together.

    A launcher that raises for a batch does not say for which of its jobs: it gets the next one
    alone, and larger batches again as they go well.
    """

    def __init__(self, launcher: Launcher, *, num_slots: int) -> None:
        self.num_slots, self.num_ahead = num_slots, 0
        self._launcher, self._most = launcher, num_slots
        self._collected: list[_Job] = []

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[JobReturn]:
        """Puts a job into the next batch."""
        job = _Job(list(overrides), job_idx, Future())
        self._collected.append(job)
        return job.future

    def flush(self) -> None:
        """Launches what was collected; numbers that do not follow each other in batches apart."""
        jobs, self._collected = self._collected, []
        try:
            for batch in _consecutive(jobs):
                self._launch(batch)
        finally:
            _fail(jobs, Interrupted(STOPPED))

    def _launch(self, batch: list[_Job]) -> None:
        try:
            returns = self._launcher.launch([job.overrides for job in batch], batch[0].number)
        except Exception as error:
            self.num_slots = 1
            said = f"the launcher raised {type(error).__name__}: {error}"
            _fail(batch, BatchLost(said) if len(batch) > 1 else error)
            return
        self.num_slots = min(2 * self.num_slots, self._most)
        for job, done in zip(batch, returns, strict=True):
            job.future.set_result(done)

    def ask_to_stop(self) -> None:
        """Jobs run in the launcher's hands, and Ctrl-C has reached them already; what has only been
        collected is not launched any more."""
        _fail(self._collected, Interrupted(STOPPED))
        self._collected = []

    def close(self) -> None:
        """There is nothing of ours to end."""


def _consecutive(jobs: list[_Job]) -> Iterator[list[_Job]]:
    """The jobs in parts whose numbers follow each other."""
    while jobs:
        length = next(
            (n for n in range(1, len(jobs)) if jobs[n].number != jobs[0].number + n), len(jobs)
        )
        yield jobs[:length]
        jobs = jobs[length:]


def _fail(jobs: list[_Job], error: Exception) -> None:
    """Tells those that have not been told how they ended."""
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(error)
