"""Worker: the process of a pool in which Hydra jobs run, one after the other.

A socket leads to the sweep. It brings the preparation, the payload, then jobs; back go READY and,
for each job, its pickled `JobReturn`, or RAISED and the exception of Hydra; LEAVING stands before
the last one. A job that asks whether it continues sends ASKED and a step; its ANSWER is the reason
to prune it, or nothing. When the stream ends, the sweep is gone, however it died, and this process
ends with all that it has started.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from functools import cached_property
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hrm_sweep.compat import spawn
from hrm_sweep.compat.cloudpickle import dumps
from hrm_sweep.compat.hydra import quick_copies
from hrm_sweep.errors import Interrupted
from hrm_sweep.launch.compose import ComposedJob, Composer, folder_of, set_number
from hrm_sweep.runs import handle, layout
from hrm_sweep.runs.channel import set_channel
from hrm_sweep.system import files, output, process
from hrm_sweep.system.writers import set_writer

READY, STOP, RAISED, LEAVING = b"ready", b"stop", b"raised ", b"leaving "
ASKED, ANSWER = b"asked ", b"answer "

ENVIRONMENT = "environment"

NOT_BEGUN = "stopped before it began"

_is_preparing = False


def check_not_importing() -> None:
    """Check that this is not a worker whose main module starts a sweep when it is imported.

    Raises:
        SystemExit: it is. Hydra would hide the words of any other exception.
    """
    if _is_preparing:
        raise _unguarded()


def _unguarded() -> SystemExit:
    return SystemExit(
        f"{sys.argv[0]}: starts a sweep as soon as it is imported, and workers import it; put "
        'the call of its main function under `if __name__ == "__main__":`'
    )


def main(descriptor: int) -> None:
    """Serve the sweep at the other end of a socket until it is gone."""
    signal.signal(signal.SIGINT, process.ignore_signal)  # Ctrl-C is the sweep's; see its STOP
    connection = Connection(descriptor)
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    stop = threading.Event()
    channel = _SocketChannel(connection)
    threading.Thread(
        target=_receive, args=(connection, messages, channel.answers, stop), daemon=True
    ).start()
    set_channel(channel)
    prepare(messages.get())
    run = Runner(messages.get())
    handle.set_stop_check(stop.is_set)
    gc.freeze()  # looking for garbage among what is imported takes 0.1 s, between two trials
    is_busy = False

    def terminate(number: int, _: FrameType | None) -> None:
        """End at the next report of the job, which is put back; at once without a job."""
        stop.set()
        if not is_busy:
            sys.exit(128 + number)

    signal.signal(signal.SIGTERM, process.not_in_children(terminate))
    connection.send_bytes(READY)
    if messages.empty():  # the sweep is still checking, or opens its database
        run.compose_ahead()
    is_leaving = False
    while not is_leaving:
        job = messages.get()
        is_busy = True
        result = run(*pickle.loads(job))
        is_leaving = stop.is_set()  # said with the result, so that no other job is sent here
        connection.send_bytes((LEAVING if is_leaving else b"") + result)
        is_busy = False


class _SocketChannel:
    """Asks the sweep after a report whether the trial continues; see `Channel`."""

    def __init__(self, connection: Connection) -> None:
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._connection, self._lock = connection, threading.Lock()

    def ask(self, step: int) -> str:
        """Ask, and wait for the answer."""
        with self._lock:
            self._connection.send_bytes(ASKED + str(step).encode())
            return self.answers.get()


def _receive(
    connection: Connection,
    messages: queue.SimpleQueue[bytes],
    answers: queue.SimpleQueue[str],
    stop: threading.Event,
) -> None:
    """Hand messages on; when the sweep is gone, end this process and what it has started."""
    try:
        while True:
            message = connection.recv_bytes()
            if message == STOP:
                stop.set()
            elif message.startswith(ANSWER):
                answers.put(message.removeprefix(ANSWER).decode())
            else:
                messages.put(message)
    except (EOFError, OSError):
        os.killpg(os.getpgrp(), signal.SIGKILL)  # the sweep made this process lead a group


def prepare(preparation: bytes) -> None:
    """Import as the sweep's process does, by its pickled `compat.spawn.preparation`.

    With it may come the ENVIRONMENT, which a fork has from another time.
    """
    global _is_preparing
    _is_preparing = True
    data = pickle.loads(preparation)
    if environment := data.pop(ENVIRONMENT, None):
        os.environ.clear()
        os.environ.update(environment)
    try:
        spawn.prepare(data)
    except SystemExit as error:  # Hydra ends so where it finds no config beside `__mp_main__`
        raise _unguarded() from error
    _is_preparing = False


def packed_job(
    preload: Sequence[str],
    hydra: HydraContext,
    config: DictConfig | None,
    task: TaskFunction,
    *,
    writer: Mapping[str, str] | None = None,
) -> bytes:
    """Return what a worker needs before its first job, packed.

    Args:
        preload: modules to import before the task is unpacked.
        config: of the sweep; None: jobs are composed elsewhere.
        writer: process that is to be named as the writer of records; None: the worker itself.
    """
    singletons = Singleton.get_state()
    if config is None:  # nor does the sweep's own leave this machine
        singletons["instances"].pop(HydraConfig, None)
    packed = dumps((hydra, config, task, singletons))
    return pickle.dumps((tuple(preload), writer, packed))


class Runner:
    """Composes and runs jobs.

    Args:
        payload: what `packed_job` returned.
    """

    def __init__(self, payload: bytes) -> None:
        output.escape_characters()
        preload, writer, packed = pickle.loads(payload)
        for module in preload:
            importlib.import_module(module)
        set_writer(writer)
        setup_globals()
        self._hydra, self._config, self._task, singletons = pickle.loads(packed)
        Singleton.set_state(singletons)

    def __call__(self, job: Sequence[str] | ComposedJob, job_idx: int) -> bytes:
        """Run one job and return its pickled `JobReturn`, or the pickled exception of Hydra.

        Args:
            job: its overrides, or its config where it was composed.
        """
        try:
            return _pickled(self._run(job, job_idx))
        except Exception as error:
            return RAISED + pickle.dumps(_sendable(error))

    def compose_ahead(self) -> None:
        """Do what composing takes once, for the groups that all jobs choose.

        A fixed override that cannot be composed is the sweep's to refuse.
        """
        with suppress(Exception):
            self._compose(getattr(self._task, "fixed", ()))  # other sweepers have none

    @cached_property
    def _compose(self) -> Composer:
        return Composer(self._hydra.config_loader, self._config)

    def _run(self, job: Sequence[str] | ComposedJob, job_idx: int) -> JobReturn:
        if handle.stop_requested():
            raise Interrupted(NOT_BEGUN)
        job_config = job.config() if isinstance(job, ComposedJob) else self._compose(job)
        set_number(job_config, job_idx)
        with _output_to(folder_of(job_config) / layout.LOG), quick_copies():
            done = run_job(
                hydra_context=self._hydra,
                task_function=self._task,
                config=job_config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        if isinstance(job, ComposedJob):
            job.bring_home(done)
        return done


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send what is printed in the block, by C code too, to the run's log."""
    files.make_folder(path.parent)
    files.check_no_link(path)
    kept = [os.dup(1), os.dup(2)]
    with files.append(path) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, old in enumerate(kept, start=1):
            os.dup2(old, descriptor)
            os.close(old)


def returned(done: JobReturn) -> Any:
    """Return what the task returned or raised."""
    try:
        with redirect_stderr(StringIO()):  # Hydra prints there before it raises
            return done.return_value
    except Exception as error:
        return error


def _pickled(done: JobReturn) -> bytes:
    """Return the pickled `JobReturn`; a value that cannot be sent becomes an error that says so.

    Pickled by value: Hydra executes plugin modules twice, so their config classes exist twice.
    """
    try:
        data: bytes = cloudpickle.dumps(done)
        pickle.loads(data)
    except Exception as error:
        value = returned(done)
        done.return_value = RuntimeError(
            f"{type(value).__name__}: {value} (it cannot be sent between processes: {error})"
        )
        data = cloudpickle.dumps(done)
    return data


def unpacked(answer: bytes) -> bytes | Exception:
    """Return the pickled `JobReturn` that a job has answered with, or the exception of Hydra."""
    if not answer.startswith(RAISED):
        return answer
    error: Exception = pickle.loads(answer.removeprefix(RAISED))
    return error


def _sendable(error: Exception) -> Exception:
    """Return an exception as it is, or its text in one that can be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
