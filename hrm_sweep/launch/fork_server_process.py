"""Fork server: a process that has only imported, and of which workers are forked.

`hrm_sweep.launch.fork_server` is its parent's side. PyTorch survives a fork as long as no thread
has been started and nothing computed, so this process does nothing but import and fork; a module
that starts a thread when it is imported ends it, and workers are spawned instead.

A request comes with three descriptors: the worker's socket, the file for its output, and its
lifeline, a socket on which its process id is sent and, when it has ended, its exit code.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

from hydra.core.plugins import Plugins

from hrm_sweep.launch import worker
from hrm_sweep.launch.fork_server import BYTES

NUM_DESCRIPTORS = 3


def main(descriptor: int, preload: Sequence[str]) -> None:
    """Import, then fork until the sweep at the other end is gone; a fork continues as a worker."""
    Plugins.instance()  # imports Hydra's plugins
    for module in preload:
        importlib.import_module(module)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        return
    gc.collect()
    gc.freeze()  # a fork that looked for garbage among them would copy their memory
    if (connection := _serve(socket.socket(fileno=descriptor))) is not None:
        worker.main(connection)


def _serve(requests: socket.socket) -> int | None:
    """Return the socket of a worker in each fork, and None when the sweep is gone."""
    forks = DefaultSelector()
    forks.register(requests, EVENT_READ)
    while True:
        for key, _ in forks.select():
            if key.fileobj is not requests:
                forks.unregister(key.fileobj)
                _bury(key.fd, *key.data)
                continue
            request, descriptors, _, _ = socket.recv_fds(requests, 1, NUM_DESCRIPTORS)
            if not request:
                return None
            connection, output, lifeline = descriptors
            if (pid := os.fork()) == 0:
                _become_a_worker(output, forks, lifeline)
                return connection
            os.close(connection)
            os.close(output)
            _send(lifeline, pid)
            forks.register(os.pidfd_open(pid), EVENT_READ, (pid, lifeline))


def _bury(pidfd: int, pid: int, lifeline: int) -> None:
    """Send the exit code of a fork that has ended."""
    _send(lifeline, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os.close(lifeline)
    os.close(pidfd)


def _become_a_worker(output: int, forks: DefaultSelector, lifeline: int) -> None:
    """Give a fork what a new process has: a session, an output and random numbers of its own.

    What belongs to the server is closed: a lifeline ends when the server closes its own end.
    """
    for key in list(forks.get_map().values()):
        os.close(key.fd)
        if key.data:
            os.close(key.data[1])
    forks.close()
    os.close(lifeline)
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    if (
        "numpy" in sys.modules
    ):  # Python seeds its own generator anew, and PyTorch's has a fixed seed
        sys.modules["numpy"].random.seed()


def _send(lifeline: int, number: int) -> None:
    """Send a number, if anyone still listens."""
    with contextlib.suppress(OSError):
        os.write(lifeline, number.to_bytes(BYTES, "little", signed=True))
