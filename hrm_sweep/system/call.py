"""A sweep that a Python program has called, and no command line has started."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hrm_sweep.errors import InputError

_one_at_a_time = threading.Lock()
_current: Call | None = None


@dataclass
class Call:
    """The call that runs."""

    command: list[str]
    """What would have started the same sweep, without arguments."""
    folders: list[Path] = field(default_factory=list)
    """Folders of the studies that it has opened."""


def current() -> Call | None:
    """Return the call that runs in this process; None: a command line started what it does."""
    return _current


@contextmanager
def as_typed(command: Sequence[str], arguments: Sequence[str]) -> Iterator[Call]:
    """Let Hydra, and the commands that are printed, see a command line in the block.

    Raises:
        InputError: another call runs, in another thread: a process has one command line.
    """
    global _current
    if not _one_at_a_time.acquire(blocking=False):
        raise InputError("sweep: another one runs in this process; wait for it, or start a process")
    argv = sys.argv
    try:
        _current, sys.argv = Call([*command]), [command[-1], *arguments]
        yield _current
    finally:
        _current, sys.argv = None, argv
        _one_at_a_time.release()
