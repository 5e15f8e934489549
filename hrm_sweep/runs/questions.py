"""Questions of running trials, whether they continue: the driver's end of the channels."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

from hrm_sweep.runs.channel import answer_in, question_in


class Questions:
    """Trials that wait for the verdict of the pruner. Any thread may put one."""

    def __init__(self) -> None:
        self.has_some: Future[None] = Future()
        """Resolves when there is one; another future takes its place when they are taken."""
        self._steps: dict[int, int] = {}
        self._lock = threading.Lock()

    def put(self, number: int, step: int) -> None:
        """Let a trial wait after a step."""
        with self._lock:
            self._steps[number] = step
            if not self.has_some.done():
                self.has_some.set_result(None)

    def take(self, running: Mapping[int, Path]) -> dict[int, int]:  # noqa: ARG002  for files
        """Return the steps after which trials wait, by trial number, and forget them.

        Args:
            running: folders of the running trials.
        """
        with self._lock:
            steps, self._steps = self._steps, {}
            if steps:
                self.has_some = Future()
        return steps


class FolderQuestions(Questions):
    """Trials that have written their question into their folder."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[int, tuple[Path, str]] = {}
        """Folder and name of the last question of a trial."""

    def take(self, running: Mapping[int, Path]) -> dict[int, int]:
        """Return the steps after which trials wait, by trial number."""
        steps = {}
        for number, folder in running.items():
            if (question := question_in(folder)) is None:
                continue
            name, step = question
            if self._asked.get(number) != (folder, name):
                self._asked[number] = (folder, name)
                steps[number] = step
        return steps

    def answer(self, number: int, prune: str) -> None:
        """Answer the last question of a trial."""
        answer_in(*self._asked[number], prune)
