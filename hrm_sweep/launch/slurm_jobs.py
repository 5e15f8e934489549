"""Jobs of one study in Slurm: how they are submitted, found again, and what became of them."""

from __future__ import annotations

import os
import pickle
import re
import time
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hrm_sweep.compat import spawn, submitit
from hrm_sweep.errors import HrmSweepError, Interrupted, TimedOut, WorkerDied
from hrm_sweep.launch import slurm_job, slurm_queue
from hrm_sweep.launch.job_returns import PackedFuture
from hrm_sweep.launch.slurm_config import SlurmConfig
from hrm_sweep.launch.slurm_job import Result
from hrm_sweep.launch.slurm_queue import JobState, SlurmError
from hrm_sweep.launch.worker import packed_job, unpacked
from hrm_sweep.runs.tickets import Ticket, Tickets
from hrm_sweep.system import files, process
from hrm_sweep.system.redact import last_line

SECONDS_OF_DELAY = 10.0
"""How long a file of another node may stay unseen on a shared disk."""
SECONDS_TO_END = 60.0
"""How long cancelled jobs are waited for."""
SECONDS_BETWEEN_LOOKS = 0.5
LONGEST_LABEL = 40


@dataclass(eq=False)
class SlurmJob:
    """Job of one attempt of a trial."""

    ticket: Ticket
    future: Future[Any] = field(default_factory=PackedFuture)
    id: str = ""
    """In Slurm; "" as long as the queue has not been seen to have it."""
    missed_at: float | None = None
    """When it was first seen to have ended without a result."""


class SlurmJobs:
    """Jobs of one study.

    Args:
        study: the study's folder, which this machine and the nodes share.
        job: Hydra's context, the config and the task function.
    """

    def __init__(
        self, config: SlurmConfig, study: Path, job: tuple[HydraContext, DictConfig, TaskFunction]
    ) -> None:
        self._config, self._study, self._job = config, study.absolute(), job
        self._tickets = Tickets(self._study)
        self._label = re.sub(r"[^\w.-]", "_", study.name, flags=re.ASCII)[:LONGEST_LABEL]

    def check(self) -> None:
        """Let Slurm check such a job, which is not submitted.

        Raises:
            SlurmError: it would be refused.
        """
        slurm_queue.check(self._script(Ticket(0, "check")))

    def write_payload(self) -> None:
        """Write what all jobs read."""
        payload = packed_job((), *self._job)
        files.make_folder(self._tickets.folder)
        with files.replacing(self._tickets.folder / slurm_job.PAYLOAD) as temporary:
            temporary.write_bytes(pickle.dumps((pickle.dumps(spawn.preparation()), payload)))

    def submit(self, number: int, overrides: list[str]) -> SlurmJob:
        """Put the next attempt of a trial into the queue.

        Raises:
            SlurmError: it is not there, or does nothing if it is.
        """
        ticket = self._tickets.issue(number, overrides)
        variables = dict(getattr(self._job[2], "variables", {}))  # of a `Job`
        if self._config.cpus_per_task:
            variables |= process.thread_variables(self._config.cpus_per_task)
        try:
            return SlurmJob(ticket, id=slurm_queue.submit(self._script(ticket), variables))
        except SlurmError:
            self._tickets.revoke(number)
            raise

    def find(self, number: int) -> SlurmJob | None:
        """Return the job that an earlier sweep has submitted for a trial."""
        ticket = self._tickets.find(number)
        return SlurmJob(ticket) if ticket else None

    def with_results(
        self, jobs: Collection[SlurmJob]
    ) -> Iterator[tuple[SlurmJob, bytes | Exception]]:
        """Yield the jobs that have left a result, with it: a pickled `JobReturn`, or an error.

        One that a SIGTERM has stopped is left to `ended`, as the queue knows who has sent that.
        """
        there = {*os.listdir(self._tickets.folder)}  # noqa: PTH208  names alone, a few times a second
        for job in jobs:
            if self._result_file(job).name not in there:
                continue
            result = self._result(job)
            if result is not None and not result.stopped_by:
                yield job, unpacked(result.data)
            elif result is not None and result.stopped_by == submitit.TIME_IS_UP:
                yield job, _time_is_up(job, result)

    def ended(self, jobs: Collection[SlurmJob]) -> Iterator[tuple[SlurmJob, Exception]]:
        """Ask the queue, and yield the jobs that have ended without a result, with what it says.

        Raises:
            SlurmError: it does not answer.
        """
        known = slurm_queue.jobs()
        for job in jobs:
            state = known.get(self._name(job.ticket))
            job.id = state.id if state else job.id
            if state is not None and not state.has_ended:
                continue
            job.missed_at = job.missed_at or time.monotonic()
            result = self._result(job)
            if result or time.monotonic() - job.missed_at > SECONDS_OF_DELAY:
                yield job, self._ending(job, state, result)

    def withdraw(self, jobs: Collection[SlurmJob]) -> list[SlurmJob]:
        """Return the jobs that have not begun; they do nothing if they ever do."""
        return [job for job in jobs if self._tickets.withdraw(job.ticket)]

    def stop(self, jobs: Collection[SlurmJob], *, withdrawn: Collection[SlurmJob]) -> None:
        """Let running jobs end at their next report, and take withdrawn ones out of the queue.

        Raises:
            SlurmError: the queue does not answer.
        """
        slurm_queue.cancel([job.id for job in self._in_queue(withdrawn)])
        slurm_queue.cancel([job.id for job in self._in_queue(jobs)], signal="TERM")

    def kill(self, jobs: Collection[SlurmJob]) -> None:
        """End jobs, and wait until no process of theirs is left.

        Raises:
            SlurmError: the queue does not answer.
        """
        give_up = time.monotonic() + SECONDS_TO_END
        left = [job.id for job in self._in_queue(jobs)]
        slurm_queue.cancel(left)
        slurm_queue.cancel(left, signal="KILL")
        while self._in_queue(jobs) and time.monotonic() < give_up:
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def forget(self, job: SlurmJob, *, keep_log: bool) -> None:
        """Remove what a job has left in the study's folder."""
        self._tickets.revoke(job.ticket.number)
        if not keep_log:
            submitit.output_of(self._tickets.folder, job.id).unlink(missing_ok=True)

    def tidy_up(self) -> None:
        """Remove what no job needs any more; logs stay that have something to say."""
        (self._tickets.folder / slurm_job.PAYLOAD).unlink(missing_ok=True)
        if self._tickets.folder.is_dir() and not any(self._tickets.folder.iterdir()):
            self._tickets.folder.rmdir()

    def _in_queue(self, jobs: Collection[SlurmJob]) -> list[JobState]:
        if not jobs:
            return []
        known = slurm_queue.jobs()
        found = [known.get(self._name(job.ticket)) for job in jobs]
        return [state for state in found if state is not None and not state.has_ended]

    def _name(self, ticket: Ticket) -> str:
        return f"{self._label}.{ticket.number}.{ticket.token}"

    def _script(self, ticket: Ticket) -> str:
        command = slurm_job.command(self._study, ticket)
        options = self._config.options(self._name(ticket))
        return submitit.batch_script(command, self._tickets.folder, options)

    def _result_file(self, job: SlurmJob) -> Path:
        return slurm_job.result_file(self._tickets, job.ticket)

    def _result(self, job: SlurmJob) -> Result | None:
        try:
            return slurm_job.read_result(self._result_file(job))
        except FileNotFoundError:
            return None

    def _ending(self, job: SlurmJob, state: JobState | None, result: Result | None) -> Exception:
        """Return what became of a job that the queue says, or does not say, to have ended."""
        how, which = state.state if state else "", f"its job {job.id}"
        if how == "CANCELLED":
            return WorkerDied(f"{which} was cancelled")
        if how in ("TIMEOUT", "DEADLINE"):
            return _time_is_up(job, result)
        if result is not None or how == "PREEMPTED":
            return Interrupted(f"{which} was preempted")
        if not job.id:  # adopted, and the queue has forgotten it
            return Interrupted("its job ended while no sweep followed it")
        try:
            last = last_line(submitit.output_of(self._tickets.folder, job.id).read_bytes())
        except OSError:
            last = ""
        ended = f"{which} ended as {how}" if how else f"{which} is gone from the queue"
        return WorkerDied(f"{ended}: {last}" if last else ended)


def _time_is_up(job: SlurmJob, result: Result | None) -> HrmSweepError:
    limit = f"its job {job.id} came to its time limit"
    if result is not None and result.has_advanced:
        return Interrupted(limit)
    return TimedOut(f"{limit} without a step that is new")
