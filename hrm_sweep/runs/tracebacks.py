"""Tracebacks of tasks as the user reads them: from his own code on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException

_PACKAGE = Path(__file__).resolve().parents[1]
_CALLERS = (str(_PACKAGE / "launch"), str(_PACKAGE / "runs"), contextlib.__file__)
"""Files whose code is on the stack when a task is called."""


def format_task_error(error: BaseException) -> str:
    """Return the traceback of an error without the frames above the task that raised it.

    The same holds for the errors that it came from. An error with no frame of a task in it is an
    error of the engine, and keeps all frames.
    """
    described = TracebackException.from_exception(error)
    chain = list(_chain(described))
    stacks = [list(dropwhile(_calls_tasks, each.stack)) for each in chain]
    if any(stacks):
        for each, frames in zip(chain, stacks, strict=True):
            each.stack = StackSummary.from_list(frames)
    return "".join(described.format())


def _chain(error: TracebackException | None) -> Iterator[TracebackException]:
    """Yield an error and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _calls_tasks(frame: FrameSummary) -> bool:
    return frame.filename.startswith(_CALLERS)
