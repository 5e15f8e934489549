"""Pool of warm local processes, each of which runs one Hydra job at a time."""

from __future__ import annotations

import ctypes
import gc
import importlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from pebble import ProcessExpired, ProcessPool

from hrm_sweep.compat.pebble import worker_processes
from hrm_sweep.errors import Interrupted, TimedOut, WorkerDied
from hrm_sweep.launch.compose import Composer
from hrm_sweep.runs import handle, layout
from hrm_sweep.system import output, process


class Pool:
    """Fixed number of spawned processes; a killed one fails its own job only and is replaced.

    Args:
        workers: number of processes.
        threads: threads of each, set before anything that reads the variables is imported.
        preload: modules that a worker imports before its first job arrives.
        timeout: seconds that a job may take; None: no limit.
        job: Hydra's context, the config and the task function.
    """

    def __init__(
        self,
        *,
        workers: int,
        threads: int,
        preload: Sequence[str],
        timeout: float | None,
        job: tuple[HydraContext, DictConfig, TaskFunction],
    ) -> None:
        self._timeout = timeout
        spawn = multiprocessing.get_context("spawn")  # fork copies locks of threads that are gone
        self._stop = spawn.RawValue("b", 0)  # a lock in it could die with a killed worker
        payload = cloudpickle.dumps((*job, Singleton.get_state()))
        self._pool: Any = ProcessPool(
            max_workers=workers,
            context=spawn,
            initializer=_start_worker,
            initargs=(payload, self._stop, threads, tuple(preload)),
        )

        self._pool.schedule(os.getpid)  # the pool starts its processes with its first task

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[JobReturn]:
        """Run one job in the next free worker; see `Slots.submit` for what the future raises."""
        arguments = (list(overrides), job_idx)
        return _translated(self._pool.schedule(_run, args=arguments, timeout=self._timeout))

    def ask_to_stop(self) -> None:
        """Let jobs end at their next report to the trial's handle."""
        self._stop.value = 1

    def close(self) -> None:
        """End the processes, idle or not."""
        self._pool.stop()
        for worker in worker_processes():
            worker.terminate()  # before the pool's locks go, which a starting one looks for
        self._pool.join()


class _PackedFuture(Future[Any]):
    """Future that unpickles its result when it is read.

    A study keeps thousands of them, and each result holds two trees of configs.
    """

    def result(self, timeout: float | None = None) -> Any:
        return pickle.loads(super().result(timeout))


def _translated(inner: Future[Any]) -> Future[JobReturn]:
    """Return a future that raises our errors for pebble's."""
    outer = _PackedFuture()

    def settle(done: Future[Any]) -> None:
        if done.cancelled():
            outer.set_exception(WorkerDied("its process was stopped"))
        elif isinstance(error := done.exception(), ProcessExpired):
            outer.set_exception(WorkerDied(_death(error.exitcode)))
        elif isinstance(error, TimeoutError) and error.args[1:]:
            outer.set_exception(TimedOut(f"it took longer than {error.args[1]} s"))
        elif error is not None:
            outer.set_exception(error)
        else:
            outer.set_result(done.result())

    inner.add_done_callback(settle)
    return outer


def _death(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "its process was killed by SIGKILL (no memory left, or kill -9)"
    if exit_code < 0:
        return f"its process was killed by {_signal(-exit_code)}"
    return f"its process ended with exit code {exit_code}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        return f"signal {number}"


_hydra: HydraContext
_compose: Composer
_task: Any


def _start_worker(payload: bytes, stop: Any, threads: int, preload: tuple[str, ...]) -> None:
    global _hydra, _compose, _task
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the parent decides
    _die_with_parent()
    process.limit_threads(threads)
    output.escape_characters()
    for module in preload:
        importlib.import_module(module)
    setup_globals()
    _hydra, config, _task, singletons = pickle.loads(payload)
    Singleton.set_state(singletons)
    _compose = Composer(_hydra.config_loader, config)
    handle.set_stop_check(lambda: bool(stop.value))
    gc.freeze()  # looking for garbage among what is imported takes 0.1 s, between two trials


def _die_with_parent() -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run(overrides: list[str], job_idx: int) -> bytes:
    if handle.stop_requested():
        raise Interrupted("stopped before it began")
    job_config = _compose(overrides)
    with open_dict(job_config):
        job_config.hydra.job.id = str(job_idx)
        job_config.hydra.job.num = job_idx
    folder = Path(str(job_config.hydra.sweep.dir), str(job_config.hydra.sweep.subdir))
    with _output_to(folder / layout.LOG):
        done = run_job(
            hydra_context=_hydra,
            task_function=_task,
            config=job_config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    return _pickled(done)


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send what is printed in the block, by C code too, to the run's log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [os.dup(1), os.dup(2)]
    with path.open("ab") as log:
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


def _returned(done: JobReturn) -> Any:
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
        value = _returned(done)
        done.return_value = RuntimeError(
            f"{type(value).__name__}: {value} (it cannot be sent between processes: {error})"
        )
        data = cloudpickle.dumps(done)
    return data
