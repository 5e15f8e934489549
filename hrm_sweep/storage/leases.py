"""Who runs a trial, and whether that process is still alive: by a lock, without clocks.

A sweep holds a lock file as long as it lives, and its trials say which one. The kernel frees the
lock when the process dies, however it dies; its workers die with it.
"""

from __future__ import annotations

import contextlib
import glob
import os
import socket
import uuid
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from hrm_sweep.system.locks import FileLock, is_held

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # proc_sys_kernel(5); macOS has none


class Lease:
    """This process as the owner of trials in one study folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f".{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.lock"
        self._path = folder.absolute() / name
        self._lock = FileLock(self._path)
        self._lock.acquire()
        self.fields = {**_machine(), "lock": str(self._path)}
        """What a trial keeps of its owner."""

    def release(self) -> None:
        """Says that this process runs no trial of the study any more.

        What sweeps of this machine have left that were killed goes too: their trials were taken
        over when this one began.
        """
        self._path.unlink(missing_ok=True)
        self._lock.release()
        for path in self._path.parent.glob(f".{glob.escape(socket.gethostname())}-*-????????.lock"):
            with contextlib.suppress(OSError):
                if not is_held(path):
                    path.unlink()


def expired_lease(folder: Path) -> dict[str, str]:
    """Return what a trial keeps of an owner in a study's folder whose process has ended."""
    return {**_machine(), "lock": str(folder.absolute() / ".expired.lock")}


class LeaseState(Enum):
    """What can be seen from here of an owner."""

    ALIVE = "it holds its lock"
    EXPIRED = "its process has ended"
    UNKNOWN = "it is, or was, on another machine"


def lease_state(lease: Mapping[str, str]) -> LeaseState:
    """Return the state of a lease. A trial without a lease counts as expired.

    Two machines may have one name, so a lock file that is missing here proves nothing then.
    """
    if not lease:
        return LeaseState.EXPIRED
    try:
        if is_held(Path(lease["lock"])):
            return LeaseState.ALIVE
        is_here = lease["host"] == socket.gethostname()
    except FileNotFoundError:
        is_here = all(lease[key] == here for key, here in _machine().items())
    return LeaseState.EXPIRED if is_here else LeaseState.UNKNOWN


def _machine() -> dict[str, str]:
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    return {"host": socket.gethostname(), "boot": boot}


def is_worked_in(folder: Path) -> bool:
    """Whether a sweep that holds its lock here works in a study folder."""
    for path in folder.glob(".*-*-????????.lock"):
        with contextlib.suppress(FileNotFoundError):  # released since it was listed
            if is_held(path):
                return True
    return False
