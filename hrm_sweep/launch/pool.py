"""Pool of warm local processes, each of which runs one Hydra job at a time.

Each slot has a thread, a process and a socket of its own: the death of a process, at any moment,
is the end of its own job and of nothing else. Pools with one queue for all, such as those of
concurrent.futures, loky and pebble, break or wait for ever when a process dies with half a result
in the queue, or with its lock.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hrm_sweep.compat import spawn
from hrm_sweep.errors import Interrupted
from hrm_sweep.launch.fork_server import fork_server
from hrm_sweep.launch.job_returns import PackedFuture
from hrm_sweep.launch.worker import (
    ANSWER,
    ENVIRONMENT,
    NOT_BEGUN,
    STOP,
    check_not_importing,
    packed_job,
)
from hrm_sweep.launch.worker_process import WorkerProcess
from hrm_sweep.runs.questions import Questions
from hrm_sweep.system import process

MOST_STARTS = 3
"""How often a slot starts a process, one after the other, that dies before it is ready."""
SECONDS_BETWEEN_STARTS = 0.5


class _Job(NamedTuple):
    overrides: list[str]
    number: int
    future: Future[Any]


class Pool:
    """Fixed number of slots, each with a process; one that dies is replaced.

    Args:
        workers: number of slots.
        threads: threads of each process, set before anything that reads the variables is imported.
        preload: modules that a process imports before its first job arrives.
        may_fork: whether processes may be forked of one that has imported `preload`.
        timeout: seconds that a job may take; None: no limit.
        job: Hydra's context, the config and the task function.
        questions: gets those of the jobs, whether they continue.

    Raises:
        SystemExit: this is a worker, whose main module starts another pool.
    """

    def __init__(
        self,
        *,
        workers: int,
        threads: int,
        preload: Sequence[str],
        may_fork: bool,
        timeout: float | None,
        job: tuple[HydraContext, DictConfig, TaskFunction],
        questions: Questions,
    ) -> None:
        check_not_importing()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        variables = getattr(job[2], "variables", {})  # of a `Job`; other sweepers have none
        self._environment = {**os.environ, **variables, **process.thread_variables(threads)}
        preparation = spawn.preparation() | {ENVIRONMENT: self._environment}
        self._messages = [pickle.dumps(preparation), packed_job(preload, *job)]
        self._server = fork_server(preload, threads, self._environment) if may_fork else None
        self._slots = [
            _Slot(self._jobs, self._new_process, timeout, questions) for _ in range(workers)
        ]
        for slot in self._slots:
            slot.start()

    @property
    def num_slots(self) -> int:
        """Number of slots that can start a process."""
        return sum(not slot.last_words for slot in self._slots)

    @property
    def trouble(self) -> str:
        """Why a slot cannot start a process; empty if all can."""
        return next((slot.last_words for slot in self._slots if slot.last_words), "")

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[JobReturn]:
        """Run one job in the next free process; see `Slots.submit` for what the future raises."""
        job = _Job(list(overrides), job_idx, PackedFuture())
        self._jobs.put(job)
        return job.future

    def answer(self, number: int, prune: str) -> None:
        """Answer a job that has asked whether it continues; `prune` says why not, or is empty."""
        for slot in self._slots:
            slot.answer(number, prune)

    def ask_to_stop(self) -> None:
        """Let jobs end at their next report to the trial's handle; those that wait do not begin."""
        for slot in self._slots:
            slot.ask_to_stop()
        with contextlib.suppress(queue.Empty):
            while job := self._jobs.get_nowait():
                job.future.set_exception(Interrupted(NOT_BEGUN))

    def close(self) -> None:
        """End the processes, idle or not, and what they have started."""
        for slot in self._slots:
            slot.close()
        for _ in self._slots:
            self._jobs.put(None)
        for slot in self._slots:
            slot.join()
        if self._server is not None:
            self._server.close()

    def _new_process(self) -> WorkerProcess:
        server = self._server if self._server is not None and self._server.is_alive() else None
        return WorkerProcess(self._messages, self._environment, server)


class _Slot(threading.Thread):
    """One after the other: keeps a process ready, and runs jobs in it.

    Args:
        jobs: shared with the other slots; None wakes one that waits.
        new_process: starts a process.
        timeout: seconds that a job may take; None: no limit.
        questions: gets those of the jobs.
    """

    def __init__(
        self,
        jobs: queue.SimpleQueue[_Job | None],
        new_process: Callable[[], WorkerProcess],
        timeout: float | None,
        questions: Questions,
    ) -> None:
        super().__init__(daemon=True)
        self.last_words = ""
        """Why no process can be started, once that is given up."""
        self._jobs, self._new_process, self._timeout = jobs, new_process, timeout
        self._questions = questions
        self._process: WorkerProcess | None = None
        self._job: _Job | None = None
        """Runs, or waits for the next process because the last one died before it got it."""
        self._is_stopping = self._is_closed = False
        self._lock = threading.Lock()

    def run(self) -> None:
        """Serve until the pool is closed, or no process can be started."""
        words: list[str] = []
        while len(words) < MOST_STARTS and not (self._is_closed or self._is_stopping):
            try:
                worker = self._start_process()
                if worker.is_ready():
                    words = []
                    self._serve(worker)
                else:
                    words.append(worker.last_words())
            except OSError as error:  # no memory, no process, no file
                words.append(f"its process cannot be started: {error.strerror}")
            time.sleep(SECONDS_BETWEEN_STARTS * len(words))
        if len(words) == MOST_STARTS:
            self.last_words = words[-1]
        if self._process is not None and not self._process.is_gone:  # idle, and killed by `close`
            self._process.end()
        if (job := self._job) is not None:
            if self._is_stopping:
                job.future.set_exception(Interrupted(NOT_BEGUN))
            else:
                self._jobs.put(job)

    def answer(self, number: int, prune: str) -> None:
        """Answer the job, if it has that number."""
        with self._lock:
            if self._process is not None and self._job is not None and self._job.number == number:
                with contextlib.suppress(OSError):
                    self._process.send(ANSWER + prune.encode())

    def ask_to_stop(self) -> None:
        """Let the job end at its next report, and begin no other."""
        with self._lock:
            self._is_stopping = True
            if self._process is not None and self._job is not None:
                with contextlib.suppress(OSError):
                    self._process.send(STOP)

    def close(self) -> None:
        """Kill the process, and start no other."""
        with self._lock:
            self._is_closed = True
            if self._process is not None:
                self._process.kill()

    def _start_process(self) -> WorkerProcess:
        with self._lock:
            if self._is_closed:
                raise OSError("the pool is closed")
            self._process = self._new_process()
        return self._process

    def _serve(self, worker: WorkerProcess) -> None:
        """Run jobs in a process until it is gone or the pool is closed."""
        while (job := self._next_job()) is not None:
            with self._lock:
                self._job = job
                try:
                    worker.send(pickle.dumps((job.overrides, job.number)))
                except OSError:  # it died while it had nothing to do
                    worker.end()
                    return
            answer = self._result(worker, job.number)
            with self._lock:
                self._job = None
            if isinstance(answer, Exception):
                job.future.set_exception(answer)
            else:
                job.future.set_result(answer)
            if worker.is_gone:
                return

    def _next_job(self) -> _Job | None:
        while (job := self._job or self._jobs.get()) is not None and not self._is_closed:
            if not self._is_stopping:
                return job
            self._job = None
            job.future.set_exception(Interrupted(NOT_BEGUN))
        return None

    def _result(self, worker: WorkerProcess, number: int) -> bytes | Exception:
        """Return the pickled result of the job that runs, or what became of it."""
        end = math.inf if self._timeout is None else time.monotonic() + self._timeout
        try:
            while isinstance(event := worker.next_event(end - time.monotonic()), int):
                self._questions.put(number, event)
        except TimeoutError:
            return worker.time_out(self._timeout)
        return event
