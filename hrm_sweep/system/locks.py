"""File locks that die with their holder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.02


class FileLock:
    """Exclusive lock of one process on a file, which is created if it is missing.

    The kernel releases the lock when the process ends, however it ends (flock(2)). Locks of two
    objects on one file exclude each other within a process too. The content of the file is not
    touched.

    On a file system without locks `acquire` and `is_held` raise OSError; the caller decides what
    that means.

    Raises:
        OSError: The file cannot be opened for writing, or is a symbolic link.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)

    def acquire(self, *, timeout: float | None = None) -> bool:
        """Acquire the lock and return whether that succeeded.

        Args:
            timeout: Seconds to wait for another holder; 0 tries once, None waits without limit.
        """
        assert self._descriptor is not None, "released"
        if timeout is None:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            return True
        end = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    return False
                time.sleep(POLL_SECONDS)
            else:
                return True

    def release(self) -> None:
        """Release the lock for good; the file stays. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_held(path: Path) -> bool:
    """Return whether a living process holds the lock on a file.

    Raises:
        FileNotFoundError: There is no such file.
    """
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # probes do not exclude each other
        except BlockingIOError:
            return True
    return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Run the block while this process alone holds the lock file `path`; wait for it if needed.

    The folder of the file is created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire()
        yield
    finally:
        lock.release()
