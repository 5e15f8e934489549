"""Process in which Hydra jobs run, one after the other, seen from the one that started it.

Its inside is `hrm_sweep.launch.worker`.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import wait

from hrm_sweep.compat import spawn
from hrm_sweep.errors import TimedOut, WorkerDied
from hrm_sweep.launch.fork_server import ForkedProcess, ForkServer
from hrm_sweep.launch.worker import ASKED, LEAVING, READY, unpacked
from hrm_sweep.system.redact import last_line

SECONDS_TO_DIE = 10.0
PROGRAM = "import sys; sys.path[:] = {path!r}; from hrm_sweep.launch.worker import main; main({fd})"


class WorkerProcess:
    """A worker process, the leader of a process group.

    Args:
        messages: what it gets before its first job.
        environment: its variables.
        server: the process is forked of it; None: it is spawned.

    Raises:
        OSError: no process can be started.
    """

    def __init__(
        self,
        messages: Sequence[bytes],
        environment: dict[str, str],
        server: ForkServer | None = None,
    ) -> None:
        self.is_gone = False
        self._messages = messages
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the process
        self._connection, other = Pipe()
        with other:
            if server is None:
                self._process: SpawnedProcess | ForkedProcess = SpawnedProcess(
                    other.fileno(), self._output.fileno(), environment
                )
            else:
                self._process = server.fork(other.fileno(), self._output.fileno())

    def is_ready(self) -> bool:
        """Wait until it is ready for jobs; return False if it died before."""
        try:
            self._process.begin()
            for message in self._messages:
                self.send(message)
            return self.receive() == READY
        except (EOFError, OSError):
            return False

    def send(self, message: bytes) -> None:
        """Send a message.

        Raises:
            OSError: it is dead.
        """
        self._connection.send_bytes(message)

    def receive(self, timeout: float = math.inf) -> bytes:
        """Return its next message.

        Raises:
            TimeoutError: none came in so many seconds.
            EOFError, OSError: it is dead.
        """
        if not wait([self._connection], None if timeout == math.inf else max(0.0, timeout)):
            raise TimeoutError
        return self._connection.recv_bytes()

    def next_event(self, timeout: float = math.inf) -> int | bytes | Exception:
        """Return the step after which its job asks whether it continues, or how the job ended.

        That is its pickled result, an exception of Hydra, or `WorkerDied`.

        Raises:
            TimeoutError: nothing happened in so many seconds.
        """
        try:
            message = self.receive(timeout)
        except TimeoutError:
            raise
        except (EOFError, OSError):
            return WorkerDied(self.end())
        if message.startswith(ASKED):
            return int(message.removeprefix(ASKED))
        if message.startswith(LEAVING):
            message = message.removeprefix(LEAVING)
            self.end()
        return unpacked(message)

    def kill(self) -> None:
        """Kill it and what it has started; it is waited for elsewhere."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill_group()

    def time_out(self, seconds: float | None) -> TimedOut:
        """Kill it because its job has taken so many seconds, and return that as an error."""
        self.kill()
        self.end()
        return TimedOut(f"it took longer than {seconds} s")

    def end(self) -> str:
        """Wait for its end, kill what it has left behind, and return how it died."""
        self.is_gone = True
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may have closed its socket only
            self._process.wait(SECONDS_TO_DIE)
        self.kill()
        self._connection.close()
        try:
            return _death(self._process.wait(SECONDS_TO_DIE))
        except subprocess.TimeoutExpired:  # the fork server, which would know, is stopped
            return _death(None)

    def last_words(self) -> str:
        """Wait for its end and return how it died, with the last line that it printed."""
        how = self.end()
        self._output.seek(0)
        last = last_line(self._output.read())
        return f"{how}: {last}" if last else how


class SpawnedProcess:
    """A new interpreter that works; see `ForkedProcess` for its methods."""

    def __init__(self, connection: int, output: int, environment: dict[str, str]) -> None:
        self._popen = subprocess.Popen(
            [*spawn.interpreter(), "-c", PROGRAM.format(path=sys.path, fd=connection)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[connection],
            start_new_session=True,  # the terminal's Ctrl-C is the sweep's
        )

    def begin(self) -> None:
        """Do nothing: it runs."""

    def kill_group(self) -> None:
        """Kill it and its process group."""
        os.killpg(self._popen.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit code."""
        return self._popen.wait(timeout)


def _death(exit_code: int | None) -> str:
    if exit_code is None:
        return "its process died"
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
