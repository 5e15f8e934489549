"""Stock Hydra launchers as slots: they take a batch and give nothing back before its end."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher


class _Job(NamedTuple):
    overrides: list[str]
    number: int
    future: Future[JobReturn]


class Batches:
    """Collects up to `num_slots` jobs and launches them together."""

    def __init__(self, launcher: Launcher, *, num_slots: int) -> None:
        self.num_slots, self.num_ahead = num_slots, 0
        self._launcher = launcher
        self._collected: list[_Job] = []

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[JobReturn]:
        """Puts a job into the next batch."""
        job = _Job(list(overrides), job_idx, Future())
        self._collected.append(job)
        return job.future

    def flush(self) -> None:
        """Launches what was collected; numbers that do not follow each other in batches apart."""
        jobs, self._collected = self._collected, []
        while jobs:
            length = next(
                (n for n in range(1, len(jobs)) if jobs[n].number != jobs[0].number + n), len(jobs)
            )
            self._launch(jobs[:length])
            jobs = jobs[length:]

    def _launch(self, batch: list[_Job]) -> None:
        try:
            returns = self._launcher.launch([job.overrides for job in batch], batch[0].number)
        except Exception as error:  # a launcher that raises for one job loses its batch
            for job in batch:
                job.future.set_exception(error)
            return
        for job, done in zip(batch, returns, strict=True):
            job.future.set_result(done)

    def ask_to_stop(self) -> None:
        """Their jobs run in the launcher's hands; Ctrl-C has reached them already."""

    def close(self) -> None:
        """There is nothing of ours to end."""
