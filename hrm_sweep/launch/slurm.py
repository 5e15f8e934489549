"""Slots that are jobs in the queue of Slurm: one for each attempt of a trial.

A thread submits jobs, looks for the results that they leave in the study's folder, and asks the
queue for those that leave none.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hrm_sweep import formatting
from hrm_sweep.compat import submitit
from hrm_sweep.errors import ConfigError, Interrupted, NoWorkers, WorkerDied
from hrm_sweep.launch import slurm_queue
from hrm_sweep.launch.job_returns import PackedFuture
from hrm_sweep.launch.slurm_config import MOST_JOBS, SlurmConfig
from hrm_sweep.launch.slurm_jobs import SlurmJob, SlurmJobs
from hrm_sweep.launch.slurm_queue import SlurmError
from hrm_sweep.launch.worker import NOT_BEGUN, check_not_importing
from hrm_sweep.runs.questions import FolderQuestions
from hrm_sweep.runs.tickets import Adopted
from hrm_sweep.system import output

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_BETWEEN_QUERIES = 3.0
"""How often the queue is asked: all users ask the one server."""
SECONDS_OF_TRYING = 60.0
"""How long no job can be submitted before that ends the study."""


class SlurmSlots:
    """Slots of one study; see `Slots` and `Outliving` for the contract.

    Args:
        study: the study's folder, which this machine and the nodes share.
        job: Hydra's context, the config and the task function.
    """

    def __init__(
        self, config: SlurmConfig, study: Path, job: tuple[HydraContext, DictConfig, TaskFunction]
    ) -> None:
        self._most = config.max_jobs or MOST_JOBS
        self.num_slots, self.num_ahead = self._most, 0
        self.questions = FolderQuestions()
        self._config, self._queue = config, SlurmJobs(config, study, job)
        self._new: list[tuple[int, list[str], Future[Any]]] = []
        """Number, overrides and future of jobs that are not submitted yet."""
        self._jobs: list[SlurmJob] = []
        """Submitted ones, until their future is resolved."""
        self._lock = threading.RLock()
        self._is_stopping = self._is_left = False
        self._trouble = self._said = ""
        """Why jobs cannot be submitted, or the queue not be seen; "": all is well."""
        self._refused_since: float | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, *, num_jobs: int) -> None:
        """Check that Slurm takes such jobs, before the first one is there.

        Raises:
            ConfigError: there is no Slurm here, or it refuses them.
        """
        self.num_slots = max(1, min(self._most, num_jobs))
        if not num_jobs:
            return
        check_not_importing()
        _check_installed()
        try:
            self._queue.check()
        except SlurmError as error:
            raise ConfigError("hydra/launcher", "slurm", f"refuses such jobs: {error}") from None

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[Any]:
        """Put a job into the queue, as soon as Slurm takes it."""
        future = PackedFuture()
        with self._lock:
            self._new.append((job_idx, list(overrides), future))
        self._start_thread()
        return future

    def adopt(self, number: int) -> Adopted | None:
        """Follow the job that an earlier sweep has submitted for a trial."""
        if (job := self._queue.find(number)) is None:
            return None
        with self._lock:
            self._jobs.append(job)
        self._start_thread()
        return Adopted(job.future, has_begun=job.ticket.is_claimed)

    def flush(self, watch: Callable[[], None] | None = None) -> None:  # noqa: ARG002
        """Say what is the matter with Slurm, if anything is.

        Args:
            watch: not called, as this does not block.

        Raises:
            NoWorkers: for a while Slurm has taken no job, and it has none of the study.
        """
        trouble, since = self._trouble, self._refused_since
        if trouble != self._said:
            self._said = trouble
            output.show(f"Slurm: {trouble}; trying again" if trouble else "Slurm answers again")
        if since is None or self._jobs or self._is_stopping:
            return
        if time.monotonic() - since > SECONDS_OF_TRYING:
            raise NoWorkers(f"Slurm takes no job: {trouble}")

    def answer(self, number: int, step: int, prune: str) -> None:  # noqa: ARG002
        """Answer the last question of a trial."""
        self.questions.answer(number, prune)

    def ask_to_stop(self) -> None:
        """Let running jobs end at their next report, and take back those that wait."""
        self._is_stopping = True
        self._drop_new()
        withdrawn = self._queue.withdraw(self._jobs[:])
        for job in withdrawn:
            self._resolve(job, Interrupted(NOT_BEGUN))
        try:
            self._queue.stop(self._jobs[:], withdrawn=withdrawn)
        except SlurmError as error:
            self._trouble = str(error)

    def leave(self) -> bool:
        """Ask the user whether jobs are to continue without this sweep; return the answer."""
        if not (num := len(self._jobs)):
            return False
        jobs, how = formatting.pluralize(num, "job"), self._config.on_interrupt
        self._is_left = how == "leave" or (how == "ask" and _is_to_leave(jobs))
        if self._is_left:
            self._end_thread()
            self._drop_new()
            output.show(f"{jobs} left in Slurm's queue, where `resume` finds them")
        return self._is_left

    def close(self) -> None:
        """Cancel the jobs, unless they are left, and wait for their end."""
        self._end_thread()
        if self._is_left:
            return
        try:
            self._queue.kill(self._jobs)
        except SlurmError as error:  # their tickets stay: `resume` finds those that live
            output.show(f"{formatting.pluralize(len(self._jobs), 'job')} may still run: {error}")
            return
        for job in self._jobs:
            self._queue.forget(job, keep_log=False)
        self._jobs = []
        self._queue.tidy_up()

    def _start_thread(self) -> None:
        if self._thread is None:
            self._queue.write_payload()
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    def _end_thread(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        queried_at = 0.0
        while not self._closed.wait(SECONDS_BETWEEN_LOOKS):
            try:
                self._submit_new()
                for job, result in self._queue.with_results(self._jobs[:]):
                    self._resolve(job, result)
                if self._jobs and time.monotonic() - queried_at >= SECONDS_BETWEEN_QUERIES:
                    queried_at = time.monotonic()
                    for job, error in self._queue.ended(self._jobs[:]):
                        self._resolve(job, error)
                self._trouble = ""
            except Exception as error:  # trials wait for this thread, which tries again
                self._trouble = str(error)

    def _submit_new(self) -> None:
        while self._new and not (self._closed.is_set() or self._is_stopping):
            number, overrides, future = self._new[0]
            try:
                job = self._queue.submit(number, overrides)
            except SlurmError:
                self._refused_since = self._refused_since or time.monotonic()
                raise
            job.future, self._refused_since = future, None
            with self._lock:
                self._jobs.append(job)
                self._new = [new for new in self._new if new[2] is not future]

    def _resolve(self, job: SlurmJob, result: bytes | Exception) -> None:
        with self._lock:
            if job not in self._jobs:  # another thread was faster
                return
            self._jobs.remove(job)
        self._queue.forget(job, keep_log=isinstance(result, WorkerDied))
        if self._is_stopping and isinstance(result, WorkerDied):  # it was asked to end
            result = Interrupted(str(result))
        if isinstance(result, Exception):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)

    def _drop_new(self) -> None:
        with self._lock:
            new, self._new = self._new, []
        for _, _, future in new:
            future.set_exception(Interrupted(NOT_BEGUN))


def _check_installed() -> None:
    """Check that this machine can submit jobs.

    Raises:
        ConfigError: it cannot.
    """
    if lacking := slurm_queue.missing():
        rule = f"needs {', '.join(lacking)}, not found here"
        raise ConfigError("hydra/launcher", "slurm", rule, "start it where jobs are submitted")
    if not submitit.is_installed():
        way_out = "run: pip install 'hrm-sweep[slurm]'"
        raise ConfigError("hydra/launcher", "slurm", "needs submitit", way_out)


def _is_to_leave(jobs: str) -> bool:
    """Return what the user answers; Ctrl-C instead of an answer leaves the jobs, which continue.

    Without a terminal they are cancelled.
    """
    if not sys.stdin.isatty():
        return False
    output.show(f"{jobs} in Slurm's queue: type c to cancel, l to leave them (Enter: cancel)")
    try:
        return sys.stdin.readline().strip().lower().startswith("l")
    except KeyboardInterrupt:
        return True
    except OSError:  # the terminal is gone
        return False
