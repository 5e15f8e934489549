"""Who runs a trial, and whether that process is still alive: by a lock, without clocks.

A sweep holds a lock file as long as it lives, and its trials bear the file's name. The kernel frees
the lock when the process dies, however it dies; its workers die with it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import uuid
from pathlib import Path
from typing import TextIO


class Owner:
    """This process as the owner of trials in one study folder."""

    def __init__(self, folder: Path) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f".{self.name}.lock"
        self._file: TextIO = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        """Says that this process runs no trial of the study any more."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def is_alive(name: str | None, folder: Path) -> bool:
    """Whether the owner of that name still runs. One on another machine counts as alive: its lock
    cannot be seen from here."""
    if name is None:
        return False
    if name.rsplit("-", 2)[0] != socket.gethostname():
        return True
    try:
        with (folder / f".{name}.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    (folder / f".{name}.lock").unlink(missing_ok=True)
    return False
