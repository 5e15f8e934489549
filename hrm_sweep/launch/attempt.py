"""One attempt of a trial that runs elsewhere, as its driver sees it: what a launcher builds on.

A launcher takes the attempt's `RemoteJob` and snapshot to a node, runs `launch.remote.run` there,
and hands each message to `receive`. All else (record, files, questions, result) is done here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from hrm_sweep.errors import WorkerDied
from hrm_sweep.launch.job_returns import PackedFuture
from hrm_sweep.launch.messages import Asked, Complete, Done, FileMessage, Message, Notice
from hrm_sweep.launch.mirror import Mirror
from hrm_sweep.launch.remote import RemoteJob
from hrm_sweep.runs.questions import Questions
from hrm_sweep.system import machine


class Driver(Protocol):
    """What an attempt needs of all attempts of its sweep."""

    questions: Questions

    def counted(self, result: bytes | Exception) -> bytes | Exception:
        """Return the result of a job, as its future is to have it."""
        ...

    def show(self, notice: Notice) -> None:
        """Show a notice to the user."""
        ...


class Attempt:
    """One attempt of a trial. Its methods may be called from any thread.

    Args:
        job: for the node.
        folder: of the run.
        driver: of the sweep.
        keep_result: called with what the job says of a complete run.

    Raises:
        InputError: the folder is a link, or another process writes the run.
    """

    def __init__(
        self, job: RemoteJob, folder: Path, driver: Driver, keep_result: Callable[[Complete], None]
    ) -> None:
        self.job = job
        self.future = PackedFuture()
        """Resolves to Hydra's `JobReturn`, or as `Slots.submit` says."""
        self._mirror, self._driver, self._keep_result = Mirror(folder), driver, keep_result
        self._lock = threading.Lock()

    def snapshot(self) -> Iterator[FileMessage]:
        """Yield what the node needs from earlier attempts; before any message is received."""
        return self._mirror.snapshot()

    def receive(self, message: Message) -> None:
        """Write what the node says into the run's folder; resolve the future with the last message.

        Nothing happens if the attempt has ended.
        """
        with self._lock:
            if self.future.done():
                return
            try:
                self._receive(message)
            except (OSError, ValueError) as error:
                is_ours = machine.fault_of(error)
                lost = WorkerDied(f"what came from its node cannot be used: {error}")
                self._resolve(error if is_ours else lost)

    def end(self, error: Exception) -> None:
        """End the attempt: its node is gone, or the launcher has given it up."""
        with self._lock:
            if not self.future.done():
                self._resolve(error)

    def _receive(self, message: Message) -> None:
        if isinstance(message, Asked):
            self._driver.questions.put(self.job.number, message.step)
        elif isinstance(message, Notice):
            self._driver.show(message)
        elif isinstance(message, Complete):
            self._keep_result(message)
        elif isinstance(message, Done):
            self._resolve(self._driver.counted(message.result))
        else:
            self._mirror.write(message)

    def _resolve(self, result: bytes | Exception) -> None:
        """Resolve the future; the record is free then, so that the scheduler may write its end."""
        self._mirror.close()
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)
