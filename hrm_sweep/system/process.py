"""This process: how it was started, its cores, threads, memory, signals and output."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from hrm_sweep.system import call, shell

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MXFAST = -1, -3, 1
"""As in malloc.h: bytes at the top of the heap, or in a block, that go back when they are free, and
the largest block that is kept in a list apart, to be merged with its neighbours later."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a program to stop."""
Handler = Callable[[int, "FrameType | None"], Any]
TYPED_IN = "HRM_SWEEP_TYPED_IN"
"""Environment variable: the folder of the shell, where that is another one."""
OWN_COMMAND = ("python", "-m", "hrm_sweep")
OWN_NAMES = ("hrm_sweep", "hrm-sweep")
"""How the last word of a command that starts hrm_sweep may read."""


def typed_in() -> Path:
    """Return the folder where the user's shell is, for lines that are to be pasted there.

    It is another one than the working folder where a command has started an app in the app's own.
    """
    return Path(os.environ.get(TYPED_IN) or Path.cwd())


def launch_command() -> list[str]:
    """Return the command that started this process, as the user typed it, without its arguments.

    Of a sweep that a Python program has called, it is the one that would have started it.
    """
    if (running := call.current()) is not None:
        return running.command
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        return ["python", "-m", spec.name.removesuffix(".__main__")]
    script = Path(sys.argv[0])
    return [script.name] if os.access(script, os.X_OK) else ["python", sys.argv[0]]


def shell_command(*arguments: str) -> str:
    """Return a shell line that starts the program of this process with other arguments."""
    return shell.join([*launch_command(), *arguments])


def hrm_sweep_command(*arguments: str) -> str:
    """Return a shell line that starts hrm_sweep itself, also from the process of another app.

    It begins with `hrm-sweep` or `python -m hrm_sweep`, whichever started this process.
    """
    started = launch_command()
    is_own = Path(started[-1]).name in OWN_NAMES
    line = shell.join([*(started if is_own else OWN_COMMAND), *arguments])
    return line if typed_in() == Path.cwd() else f"cd {shell.quote(str(Path.cwd()))} && {line}"


def usable_cores() -> int:
    """Cores this process may run on, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def variables_set(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment in the block, and leave them as they were."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment variables by which libraries use so many threads.

    Those that wait for the others of a parallel loop sleep, unless the user has it otherwise: by
    default they spin on a core that another worker needs, which costs both up to 30 times the time.
    """
    variables = dict.fromkeys(THREAD_VARIABLES, str(threads))
    return {**variables, "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")}


def limit_threads(threads: int) -> None:
    """For libraries that are imported later, and for child processes."""
    os.environ.update(thread_variables(threads))


def allow_open_files() -> None:
    """Let this process open as many files as the system allows it to; often it starts with 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS allows fewer than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def keep_freed_memory() -> None:
    """Let the C library keep memory that is freed, where it has a setting for that (glibc).

    Otherwise a large tensor's memory goes back to the system and comes again as zeroed pages: some
    900 page faults and 2 of 30 ms in a training step of hidden_dim=128, batch_size=8. And merging
    small blocks later costs more than at once: 2 of the 12 µs that a small matrix product takes.
    """
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 2**25)
        mallopt(M_TRIM_THRESHOLD, 2**30)
        mallopt(M_MXFAST, 0)


@contextmanager
def hide_modules(*packages: str) -> Iterator[None]:
    """Whoever imports one of these in the block goes without, as if it were not installed.

    For packages that others can do without and take seconds to import; one that is imported
    already stays.
    """
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def ignore_signal(number: int, frame: FrameType | None) -> None:
    """Do nothing. Unlike SIG_IGN, a handler is not handed on to the programs that are started."""


_of_this_process: weakref.WeakSet[Handler] = weakref.WeakSet()


def not_in_children(handler: Handler) -> Handler:
    """Return a handler that forked children do not have for SIGTERM and SIGHUP.

    `multiprocessing` ends its children by SIGTERM, and waits for ever for one that does not end.
    """
    _of_this_process.add(handler)
    return handler


def _reset_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in _of_this_process:
            signal.signal(number, signal.SIG_DFL)


os.register_at_fork(after_in_child=_reset_signals)


class StopSignal(KeyboardInterrupt):
    """SIGTERM or SIGHUP: docker, systemd, Slurm or a closed terminal asks for what Ctrl-C does."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


def interruption(number: int) -> KeyboardInterrupt:
    """Return what a signal raises that asks a program to stop."""
    return KeyboardInterrupt() if number == signal.SIGINT else StopSignal(number)


def exit_code(error: KeyboardInterrupt) -> int:
    """Return the exit code of a program that such a signal has ended, as shells count it."""
    return 128 + (error.number if isinstance(error, StopSignal) else signal.SIGINT)


@contextmanager
def stop_signals() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP raise a KeyboardInterrupt or StopSignal in the block.

    Not where they have a handler, or are ignored: `nohup` sees to that.
    """
    _raised.clear()

    def stop(number: int, _: FrameType | None) -> None:
        _raised.append(number)
        raise interruption(number)

    before = (signal.SIG_DFL, signal.default_int_handler)
    with handled(STOPPING, stop, instead_of=before):
        yield


_raised: list[int] = []
"""Signals that have raised in `stop_signals`."""


def raise_again() -> None:
    """Raise what Python has dropped, because it came within a destructor, if anything is."""
    if _raised:
        raise interruption(_raised[-1])


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Ctrl-C, and what asks for the same, waits for the end of the block.

    So what is done in it is done whole.
    """
    came: list[int] = []
    with handled(STOPPING, lambda number, _: came.append(number)):
        yield
    if came:
        raise interruption(came[0])


@contextmanager
def handled(
    numbers: Iterable[int], handler: Handler, *, instead_of: Collection[Any] | None = None
) -> Iterator[None]:
    """Give signals a handler in the block.

    Args:
        instead_of: only those that are handled in one of these ways; None: by any function.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are not for others
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    for number, kept in list(before.items()):
        if callable(kept) if instead_of is None else kept in instead_of:
            signal.signal(number, not_in_children(handler))
        else:
            del before[number]
    try:
        yield
    finally:
        for number, kept in before.items():
            signal.signal(number, kept)


class ResourceUsage:
    """What this process uses from now on.

    Args:
        outer: one that is still measuring; the kernel counts one peak of the memory at a time.
    """

    def __init__(self, outer: ResourceUsage | None = None) -> None:
        self._cpu, self._peak = time.process_time(), 0
        if outer is not None:
            outer.keep_peak()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak starts here

    def keep_peak(self) -> None:
        """Remember the peak so far, before another object resets the kernel's count."""
        self._peak = max(self._peak, _memory_peak())

    def measured(self) -> dict[str, float]:
        """CPU seconds of all threads, and the peak of the memory in MB."""
        peak = max(self._peak, _memory_peak())
        cpu = time.process_time() - self._cpu
        return {"cpu_seconds": round(cpu, 3), "memory_peak_mb": round(peak / 1e6, 1)}


def _memory_peak() -> int:
    """In bytes; where it cannot be reset, since the start of the process."""
    status = Path("/proc/self/status")
    if status.exists():
        peak = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
        if peak:
            return 1024 * int(peak[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes
