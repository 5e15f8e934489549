"""Workers forked of a process that has imported what they need, seen from the sweep.

PyTorch takes a second to import, in each worker at the same time; a fork has it at once, also when
it replaces a worker that died. The inside is `hrm_sweep.launch.fork_server_process`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from hrm_sweep.compat import spawn
from hrm_sweep.system import process

PROGRAM = (
    "import sys; sys.path[:] = {path!r}; "
    "from hrm_sweep.launch.fork_server_process import main; main({fd}, {preload!r})"
)
BYTES = 8
"""Of a number on a lifeline."""
_early: list[ForkServer] = []
"""One that was started before it was known whether a pool would need it."""


class ForkServer:
    """A process that imports modules and is then forked.

    Args:
        preload: modules to import.
        threads: of each fork.
        environment: variables that are set while it imports.
    """

    def __init__(
        self, preload: Sequence[str], threads: int, environment: Mapping[str, str]
    ) -> None:
        self._fits = list(preload), process.thread_variables(threads)
        self._requests, other = socket.socketpair()
        program = PROGRAM.format(path=sys.path, fd=other.fileno(), preload=list(preload))
        self._popen = subprocess.Popen(
            [*spawn.interpreter(), "-c", program],
            env={**environment, **self._fits[1]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[other.fileno()],
            start_new_session=True,
        )
        other.close()

    def fits(self, preload: Sequence[str], threads: int) -> bool:
        """Return whether it imports just these modules, for so many threads."""
        return self._fits == (list(preload), process.thread_variables(threads))

    def is_alive(self) -> bool:
        """Return whether it still imports, or can be forked."""
        return self._popen.poll() is None

    def fork(self, connection: int, output: int) -> ForkedProcess:
        """Ask for a worker, the leader of a process group; it comes once all is imported.

        Args:
            connection: descriptor of its socket.
            output: descriptor of the file that gets what it prints.

        Raises:
            OSError: the server is gone.
        """
        lifeline, other = socket.socketpair()
        with other:
            socket.send_fds(self._requests, [b"f"], [connection, output, other.fileno()])
        return ForkedProcess(lifeline)

    def close(self) -> None:
        """End it; its forks live on."""
        self._popen.kill()
        self._popen.wait()
        self._requests.close()


class ForkedProcess:
    """A process that the fork server has been asked for."""

    def __init__(self, lifeline: socket.socket) -> None:
        self._lifeline = lifeline
        self._pid = 0
        self._exit_code: int | None = None

    def begin(self) -> None:
        """Wait until it runs.

        Raises:
            EOFError: the fork server died before.
        """
        if (pid := self._number()) is None:
            raise EOFError
        self._pid = pid

    def kill_group(self) -> None:
        """Kill it and its process group; if it does not run yet, let it not begin.

        Raises:
            ProcessLookupError: it is gone.
        """
        if self._pid:
            os.killpg(self._pid, signal.SIGKILL)
        else:
            with contextlib.suppress(OSError):
                self._lifeline.shutdown(socket.SHUT_RDWR)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end; return its exit code, None if the fork server took it with it.

        Raises:
            subprocess.TimeoutExpired: it has not ended in so many seconds.
        """
        if self._exit_code is None and self._pid:
            self._lifeline.settimeout(timeout)
            try:
                self._exit_code = self._number()
            except TimeoutError:
                raise subprocess.TimeoutExpired("worker", timeout or 0) from None
        return self._exit_code

    def _number(self) -> int | None:
        """Return the next number on the lifeline; None: it has ended."""
        received = self._lifeline.recv(BYTES)
        return int.from_bytes(received, "little", signed=True) if received else None


def can_fork() -> bool:
    """Return whether this system has what a fork server needs."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


def start_early(arguments: Sequence[str], preload: Sequence[str]) -> None:
    """Start a fork server for one thread while the sweep's own process still imports.

    Args:
        arguments: of the command line; only a study without other flags will need it.
    """
    flags = [word for word in arguments if word.startswith("-")]
    is_pool = not any(word.startswith("hydra/launcher=") for word in arguments)
    if can_fork() and is_pool and flags and set(flags) <= {"-m", "--multirun"}:
        _early.append(ForkServer(preload, 1, os.environ))
        atexit.register(_discard)


def fork_server(
    preload: Sequence[str], threads: int, environment: Mapping[str, str]
) -> ForkServer | None:
    """Return the fork server of a pool; None if its workers have to be spawned.

    Without modules to import it would save nothing.
    """
    if not (preload and can_fork()):
        return None
    if _early and (early := _early[0]).fits(preload, threads) and early.is_alive():
        return _early.pop()
    _discard()
    return ForkServer(preload, threads, environment)


def _discard() -> None:
    while _early:
        _early.pop().close()
