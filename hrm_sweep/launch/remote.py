"""One job in a place without the study's folder: a node of a cluster.

The job runs in a worker process like those of the pool, in a folder of its own below a temporary
one. What changes there is yielded, so that the driver's folder has it while the job runs. A node
needs no database, no disk that the driver sees and no credentials: it is sent a composed config.
"""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from hrm_sweep.errors import NoWorkers, WorkerDied
from hrm_sweep.launch.changes import FolderChanges
from hrm_sweep.launch.compose import ComposedJob
from hrm_sweep.launch.inbox import Inbox
from hrm_sweep.launch.known_results import added_results
from hrm_sweep.launch.large_files import LargeFiles, Limits
from hrm_sweep.launch.messages import Asked, Done, FileMessage, Message, Notice, Part
from hrm_sweep.launch.scratch import scratch_folder
from hrm_sweep.launch.worker import ANSWER, STOP
from hrm_sweep.launch.worker_process import WorkerProcess
from hrm_sweep.runs import layout
from hrm_sweep.system import files, process

SECONDS_BETWEEN_LOOKS = 1.0


class Control(Protocol):
    """The node's way to the driver."""

    def answer(self, step: int) -> str:
        """Return why the trial is to be pruned after a step; "": it continues.

        Called after `Asked` was yielded; may block. Without a driver, the trial continues.
        """
        ...

    def is_stopping(self) -> bool:
        """Return whether the trial is to end at its next report. Called each second; be quick."""
        ...


class RemoteJob(NamedTuple):
    """A job for a node."""

    number: int
    config: bytes
    """Pickled, as it was composed."""
    subdir: str
    """Of the run's folder, below the study's."""
    run: str
    """Names the run among those of all studies."""
    known: tuple[Part, ...]
    """Files below the study's folder by which the job finds results that it may reuse."""
    limits: Limits
    threads: int
    timeout: float | None
    """Seconds that it may take."""


def run(
    payload: bytes, job: RemoteJob, snapshot: Iterable[FileMessage], control: Control
) -> Iterator[Message]:
    """Run a job and yield what changes in its folder; `Done` is the last message.

    Closing this before its end kills the job. The worker process is kept for the next call in the
    same process.

    Args:
        payload: what the worker needs before its first job; see `worker.packed_job`.
        snapshot: files that earlier attempts have left.
    """
    worker = _ready_worker(payload, job.threads)
    if isinstance(worker, NoWorkers):
        yield Done(worker)
        return
    with scratch_folder() as root:
        here = _Here(root / job.subdir, job)
        try:
            _write(job.known, root)
            yield from here.restore(snapshot)
            result = yield from here.work(worker, str(root), control)
            yield from here.look(is_last=True)
            yield from added_results(root, job.known)
        except OSError as error:  # a disk of this node, which is no fault of the driver's machine
            result = WorkerDied(f"its node failed: {error}")
        finally:
            if not here.has_ended:
                worker.kill()
                worker.end()
    yield Done(result)


class _Here:
    """The run's folder on this node, and the job that works in it."""

    def __init__(self, folder: Path, job: RemoteJob) -> None:
        self.has_ended = False
        self._job, self._folder = job, folder
        self._large = LargeFiles(job.limits, job.run)
        self._changes = FolderChanges(folder, self._large)

    def restore(self, snapshot: Iterable[FileMessage]) -> Iterator[Message]:
        """Write the files of earlier attempts."""
        _write(snapshot, self._folder)
        notices = self._large.fetch(self._folder)
        self._changes.skip_present()
        yield from self._logged(notices)

    def work(
        self, worker: WorkerProcess, root: str, control: Control
    ) -> Generator[Message, None, bytes | Exception]:
        """Run the job, yield what changes meanwhile, and return its result."""
        timeout = self._job.timeout
        end = math.inf if timeout is None else time.monotonic() + timeout
        looking, look_at = self.look(), 0.0
        _send(worker, pickle.dumps((ComposedJob(self._job.config, root), self._job.number)))
        while True:
            event = _next_event(worker, min(look_at, end) - time.monotonic())
            if isinstance(event, int):
                yield from self._changes.measured()
                yield Asked(event)
                _send(worker, ANSWER + control.answer(event).encode())
            elif event is not None:
                self.has_ended = True
                return event
            elif time.monotonic() >= end:
                self.has_ended = True
                return worker.time_out(timeout)
            elif (message := next(looking, None)) is not None:
                yield message  # one at a time: a question does not wait for large files
            else:
                looking, look_at = self.look(), time.monotonic() + SECONDS_BETWEEN_LOOKS
                if control.is_stopping():
                    _send(worker, STOP)

    def look(self, *, is_last: bool = False) -> Iterator[Message]:
        """Yield what changed in the folder."""
        yield from self._logged(self._changes.look(is_last=is_last))

    def _logged(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Yield messages; what the user should know is in the run's log, too."""
        for message in messages:
            if isinstance(message, Notice):
                with files.append(self._folder / layout.LOG) as log:
                    log.write(f"{message.text}\n".encode())
            yield message


_kept: tuple[tuple[bytes, int], WorkerProcess] | None = None


def _ready_worker(payload: bytes, threads: int) -> WorkerProcess | NoWorkers:
    """Return the worker of the last job if it fits and lives, or else a new one."""
    global _kept
    needs = hashlib.sha256(payload).digest(), threads
    if _kept is not None:
        known, worker = _kept
        if known == needs and not worker.is_gone:
            return worker
        worker.kill()
        worker.end()
        _kept = None
    variables = {**os.environ, **process.thread_variables(threads)}
    worker = WorkerProcess([pickle.dumps({}), payload], variables)
    if not worker.is_ready():
        return NoWorkers(worker.last_words())
    _kept = needs, worker
    return worker


def _write(messages: Iterable[FileMessage], folder: Path) -> None:
    inbox = Inbox(folder)
    for message in messages:
        inbox.write(message)


def _next_event(worker: WorkerProcess, seconds: float) -> int | bytes | Exception | None:
    """Return what the worker says; None: nothing in so many seconds."""
    try:
        return worker.next_event(seconds)
    except TimeoutError:
        return None


def _send(worker: WorkerProcess, message: bytes) -> None:
    """Send a message; if the worker is dead, its next event says so."""
    with suppress(OSError):
        worker.send(message)
