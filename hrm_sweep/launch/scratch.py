"""Temporary folders of this machine; those of killed processes are removed by the next one."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hrm_sweep.system.locks import FileLock, is_held

PREFIX, LOCK = "hrm_sweep-node-", ".lock"
SECONDS_TO_LOCK = 60.0
"""Age from which a folder whose lock is free has no process."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder, which is removed when the block ends."""
    _remove_orphans()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    lock = FileLock(folder / LOCK)
    with suppress(OSError):  # a disk without locks
        lock.acquire(timeout=0)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _remove_orphans() -> None:
    """Remove the folders whose process is gone; on a disk without locks they stay."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        with suppress(OSError):
            age = time.time() - lock.stat().st_mtime
            if age > SECONDS_TO_LOCK and not is_held(lock):
                shutil.rmtree(lock.parent)
