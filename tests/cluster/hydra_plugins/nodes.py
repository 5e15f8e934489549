"""A launcher whose nodes are local processes that share nothing with the driver but a pipe.

It is as thin as a launcher can be, so that its tests are those of `hrm_sweep.launch.remote` and of
the driver's side. Hydra finds it where this folder's parent is in PYTHONPATH.
"""

import os
import queue
import shlex
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from hydra.plugins.launcher import Launcher

from hrm_sweep.compat.hydra import store_once
from hrm_sweep.errors import WorkerDied
from hrm_sweep.launch import remote, scratch
from hrm_sweep.launch.attempt import Attempt
from hrm_sweep.launch.large_files import Limits
from hrm_sweep.launch.remote_jobs import RemoteJobs, check_subdir
from hrm_sweep.runs.questions import Questions

BEFORE, KEPT, SECRETS = "NODES_BEFORE", "NODES_KEPT", "NODES_SECRETS"
"""Variables: what starts a node; where nodes leave their folders; variables that they have not."""


@dataclass
class NodesConfig:
    _target_: str = "hydra_plugins.nodes.NodesLauncher"
    nodes: int = 2
    timeout: float | None = None
    max_file_mb: float = 100.0
    artifacts: str | None = None


class NodesLauncher(Launcher):
    num_ahead = 0

    def __init__(self, **config: Any) -> None:
        self._config = NodesConfig(**config)
        self.num_slots, self.questions = self._config.nodes, Questions()
        self._jobs: RemoteJobs | None = None
        self._queue: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._running: dict[int, tuple[Attempt, _Node]] = {}
        self._is_stopping = False

    def setup(self, *, hydra_context, task_function, config) -> None:
        check_subdir(config)
        self._job = hydra_context, config, task_function

    def start(self, *, num_jobs: int) -> None:
        for _ in range(self.num_slots):
            threading.Thread(target=self._serve, daemon=True).start()

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[Any]:
        if self._jobs is None:
            self._jobs = RemoteJobs(
                self._job,
                preload=(),
                threads=1,
                timeout=self._config.timeout,
                limits=Limits(self._config.max_file_mb, self._config.artifacts),
                questions=self.questions,
            )
        try:
            attempt = self._jobs.begin(overrides, job_idx)
        except Exception as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed
        self._queue.put(attempt)
        return attempt.future

    def flush(self, watch: Callable[[], None] | None = None) -> None:
        if self._jobs is not None:
            self._jobs.check()

    def answer(self, number: int, step: int, prune: str) -> None:
        self._running[number][1].say(("answer", prune))

    def ask_to_stop(self) -> None:
        self._is_stopping = True
        for _, node in list(self._running.values()):
            node.say(("stop", ""))

    def close(self) -> None:
        for attempt, node in list(self._running.values()):
            node.kill()
            attempt.end(WorkerDied("the launcher was closed"))
        for _ in range(self.num_slots):
            self._queue.put(None)

    def launch(self, job_overrides, initial_job_idx: int) -> Sequence[Any]:
        self.start(num_jobs=len(job_overrides))
        jobs = [self.submit(each, initial_job_idx + i) for i, each in enumerate(job_overrides)]
        return [job.result() for job in jobs]

    def _serve(self) -> None:
        node = _Node()
        while (attempt := self._queue.get()) is not None:
            if node.is_dead:
                node = _Node()
            self._running[attempt.job.number] = attempt, node
            node.run(self._jobs.payload, attempt)
            del self._running[attempt.job.number]
        node.kill()


class _Node:
    """A process on which jobs run, one after the other."""

    def __init__(self) -> None:
        self._connection, other = Pipe()
        hidden = os.environ.get(SECRETS, "").split()
        self._process = subprocess.Popen(
            [
                *shlex.split(os.environ.get(BEFORE, "")),
                *(
                    sys.executable,
                    "-c",
                    f"from hydra_plugins import nodes; nodes.serve({other.fileno()})",
                ),
            ],
            pass_fds=[other.fileno()],
            cwd="/",
            env={name: value for name, value in os.environ.items() if name not in hidden},
            start_new_session=True,
        )
        other.close()

    @property
    def is_dead(self) -> bool:
        return self._process.poll() is not None

    def say(self, what: object) -> None:
        self._connection.send(what)

    def kill(self) -> None:
        self._process.kill()

    def run(self, payload: bytes, attempt: Attempt) -> None:
        try:
            self.say((payload, attempt.job, list(attempt.snapshot())))
            while not attempt.future.done():
                attempt.receive(self._connection.recv())
        except (EOFError, OSError):
            self._process.wait()
            attempt.end(WorkerDied("its node is gone"))


class _Control:
    def __init__(self, connection: Connection) -> None:
        self.jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._connection, self._stop = connection, threading.Event()
        threading.Thread(target=self._receive, daemon=True).start()

    def answer(self, step: int) -> str:
        return self._answers.get()

    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def _receive(self) -> None:
        try:
            while True:
                match self._connection.recv():
                    case ("answer", prune):
                        self._answers.put(prune)
                    case ("stop", _):
                        self._stop.set()
                    case job:
                        self.jobs.put(job)
        except (EOFError, OSError):
            os._exit(0)


def serve(descriptor: int) -> None:
    """Be a node of the driver at the other end of a socket."""
    if kept := os.environ.get(KEPT):
        scratch.shutil.rmtree = lambda folder, **_: shutil.move(folder, f"{kept}/{uuid.uuid4()}")
    connection = Connection(descriptor)
    control = _Control(connection)
    while True:
        payload, job, snapshot = control.jobs.get()
        for message in remote.run(payload, job, snapshot, control):
            connection.send(message)


store_once("hydra/launcher", "nodes", NodesConfig)
