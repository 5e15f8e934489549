"""Jobs on a Ray cluster: each is a task, a stream of what changes in the folder in which it works.

A thread of the driver follows each stream. The way to the job leads through a mailbox. Whatever
becomes of a task, of a node or of Ray costs a trial an attempt at most, which the scheduler starts
elsewhere; Ray itself repeats nothing.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cached_property
from typing import Any

import ray
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hrm_sweep.errors import Interrupted, NoWorkers, WorkerDied
from hrm_sweep.launch import remote
from hrm_sweep.launch.attempt import Attempt
from hrm_sweep.launch.large_files import Limits
from hrm_sweep.launch.messages import Done, Message
from hrm_sweep.launch.ray_cluster import Cluster, one_line
from hrm_sweep.launch.ray_config import RayConfig
from hrm_sweep.launch.ray_mailbox import Answer, MailboxControl, Mailboxes, Stop
from hrm_sweep.launch.remote_jobs import RemoteJobs
from hrm_sweep.launch.worker import NOT_BEGUN
from hrm_sweep.runs.questions import Questions
from hrm_sweep.system import output

UNUSABLE = (ray.exceptions.RayTaskError, ray.exceptions.RuntimeEnvSetupError)
"""What a node answers that cannot import what a job needs."""
SECONDS_TO_END = 5.0
"""How long the end of cancelled tasks is waited for."""


class RayJobs:
    """Jobs of one sweep on a cluster, which is joined or started here.

    Args:
        config: checked by its `check_settings`.
        job: Hydra's context, the config of the sweep and the task function.
        questions: gets those of the jobs, whether they continue.

    Raises:
        ConfigError: there is no such cluster, or none of its nodes has what a job demands.
    """

    def __init__(
        self,
        config: RayConfig,
        job: tuple[HydraContext, DictConfig, TaskFunction],
        questions: Questions,
    ) -> None:
        self._config, self._job, self._questions = config, job, questions
        self._cluster = Cluster(config)
        self._mailboxes = Mailboxes()
        self._runs: dict[str, _Run] = {}
        """Attempts that have not ended, by the name of their mailbox."""
        self._is_stopping = self._is_waiting = False

    @property
    def room(self) -> int:
        """How many jobs may run at once."""
        return self._config.workers or self._cluster.num_jobs

    def submit(self, overrides: Sequence[str], number: int) -> Future[Any]:
        """Run a job as soon as a node has room; see `Slots.submit` for what the future raises."""
        try:
            if self._is_stopping:
                raise Interrupted(NOT_BEGUN)
            attempt = self._remote.begin(overrides, number)
        except Exception as error:
            future: Future[Any] = Future()
            future.set_exception(error)
            return future
        run = _Run(attempt)
        try:
            run.start(self._task, self._payload, self._mailboxes)
        except Exception as error:  # the head is away
            attempt.receive(Done(_meant_by(error, run)))
            return attempt.future
        self._runs[run.name] = run
        threading.Thread(target=self._follow, args=[run], daemon=True).start()
        return attempt.future

    def check(self) -> None:
        """Check that the nodes can run jobs, and tell the user when there is no node that can.

        Raises:
            NoWorkers: they cannot.
        """
        if self._is_stopping:
            return
        self._remote.check()
        was_waiting, self._is_waiting = self._is_waiting, not self._cluster.num_jobs
        if self._is_waiting and not was_waiting:
            output.show("No node of the cluster has room for a trial; they wait for one")

    def answer(self, number: int, step: int, prune: str) -> None:
        """Answer a job that has asked whether it continues."""
        for run in [*self._runs.values()]:
            if run.attempt.job.number == number:
                self._mailboxes.send(run.name, Answer(step, prune))

    def ask_to_stop(self) -> None:
        """Let jobs end at their next report; those that wait do not begin."""
        self._is_stopping = True
        for run in [*self._runs.values()]:
            if run.has_begun:
                self._mailboxes.send(run.name, Stop())
            else:
                run.drop(NOT_BEGUN)

    def close(self) -> None:
        """End all jobs, and leave the cluster."""
        for run in [*self._runs.values()]:
            run.drop("stopped")
        give_up = time.monotonic() + SECONDS_TO_END
        while self._runs and time.monotonic() < give_up:  # threads may not outlive the connection
            time.sleep(0.01)
        self._mailboxes.close()
        self._cluster.close()

    @cached_property
    def _remote(self) -> RemoteJobs:
        config = self._config
        return RemoteJobs(  # not before the first job: only then its study has an id
            self._job,
            preload=config.preload,
            threads=config.threads or max(1, int(config.num_cpus)),
            timeout=config.timeout,
            limits=Limits(config.max_file_mb, config.artifacts),
            questions=self._questions,
        )

    @cached_property
    def _payload(self) -> Any:
        return ray.put(self._remote.payload)

    @cached_property
    def _task(self) -> Any:
        config = self._config
        settings = {
            "num_returns": "streaming",
            "max_retries": 0,
            "num_cpus": config.num_cpus,
            "num_gpus": config.num_gpus,
            "resources": config.resources,
            "max_calls": 1 if config.num_gpus else 0,  # an idle process would keep its memory there
        }
        return ray.remote(**settings)(_messages)

    def _follow(self, run: _Run) -> None:
        """Hand the messages of a job on until it has ended, however it does."""
        try:
            for reference in run.stream:
                message = ray.get(reference)
                run.has_begun = True
                if message is not None:
                    run.attempt.receive(message)
            run.attempt.end(WorkerDied("its task ended without a result"))
        except Exception as error:
            run.attempt.receive(Done(_meant_by(error, run)))
        finally:
            del self._runs[run.name]


class _Run:
    """One attempt on the cluster."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.name = f"{attempt.job.number} {uuid.uuid4().hex}"
        """Of its mailbox."""
        self.has_begun = False
        self.stream: Any = None

    def start(self, task: Any, payload: Any, mailboxes: Mailboxes) -> None:
        """Submit the task."""
        snapshot = [ray.put(piece) for piece in self.attempt.snapshot()]  # checkpoints are large
        self.stream = task.remote(payload, self.attempt.job, snapshot, mailboxes.actor, self.name)

    def drop(self, reason: str) -> None:
        """End the attempt, its task and what that has started; its record is free then."""
        self.attempt.end(Interrupted(reason))
        with suppress(Exception):  # it has ended, or the cluster is away
            ray.cancel(self.stream, force=True)


def _meant_by(error: Exception, run: _Run) -> Exception:
    """Return what an error of Ray means for a trial: never that it has failed."""
    if isinstance(error, ray.exceptions.NodeDiedError):
        return WorkerDied("its node is gone")
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return WorkerDied("its node has no memory left")
    words = one_line(error)
    if isinstance(error, UNUSABLE) and not run.has_begun:
        return NoWorkers(words)
    return WorkerDied(f"Ray has lost its task ({words})")


def _messages(
    payload: bytes, job: remote.RemoteJob, snapshot: list[Any], actor: Any, mailbox: str
) -> Iterator[Message | None]:
    """Run a job on a node, as a task of Ray; yield None first, to say that it runs."""
    yield None
    control = MailboxControl(actor, mailbox)
    try:
        yield from remote.run(payload, job, map(ray.get, snapshot), control)
    finally:
        control.close()
