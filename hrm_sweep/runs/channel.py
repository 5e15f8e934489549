"""Channel from a trial to the driver of its study, which alone asks the pruner.

A trial asks after a report, which is durable in its record before. Launchers with a channel of
their own set it in the processes that run their jobs. Anywhere else two small files in the trial's
folder are the channel: they need a folder that both sides see, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from pathlib import Path
from typing import Any, Protocol

from hrm_sweep.system import files

QUESTION, ANSWER = ".question", ".answer"
PATIENCE_SECONDS = 10.0
"""How long a trial waits for a driver, which may have died."""
SECONDS_BETWEEN_LOOKS = 0.005


class Channel(Protocol):
    """The trial's end of a channel."""

    def ask(self, step: int) -> str:
        """Return why the trial is to be pruned after a step; "": it continues.

        It continues, too, if the driver does not answer.
        """
        ...


_channel: Channel | None = None


def set_channel(channel: Channel) -> None:
    """Let the runs of this process ask by a launcher's own channel."""
    global _channel
    _channel = channel


def channel_of(folder: Path) -> Channel:
    """Return the channel of the trial in a folder."""
    return _channel or FolderChannel(folder)


class FolderChannel:
    """Channel of two files in a trial's folder.

    A question that gets no answer in time is the last one that is waited for, until an answer shows
    that a driver is there again.
    """

    def __init__(self, folder: Path) -> None:
        self._question, self._answer = folder / QUESTION, folder / ANSWER
        self._is_answered = True
        self._remove()

    def ask(self, step: int) -> str:
        """Write a question, and wait for its answer."""
        name = uuid.uuid4().hex
        if not self._is_answered:  # perhaps the last question has been answered since
            self._is_answered = self._answer.exists()
        _write(self._question, {"name": name, "step": step})
        give_up = time.monotonic() + (PATIENCE_SECONDS if self._is_answered else 0.0)
        while (answer := _read(self._answer)).get("name") != name:
            if time.monotonic() >= give_up:
                self._is_answered = False
                return ""
            time.sleep(SECONDS_BETWEEN_LOOKS)
        self._remove()
        return str(answer["prune"])

    def _remove(self) -> None:
        for path in (self._question, self._answer):
            path.unlink(missing_ok=True)


def question_in(folder: Path) -> tuple[str, int] | None:
    """Return name and step of the question that a trial has written; None: it has not."""
    asked = _read(folder / QUESTION)
    return (str(asked["name"]), int(asked["step"])) if asked else None


def answer_in(folder: Path, name: str, prune: str) -> None:
    """Answer a question; `prune` is the reason to prune, or "" to let it continue."""
    with contextlib.suppress(OSError):  # the folder is gone: so is the trial
        _write(folder / ANSWER, {"name": name, "prune": prune})


def _write(path: Path, content: dict[str, Any]) -> None:
    files.write_note(path, json.dumps(content))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
