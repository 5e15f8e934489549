"""Who runs a trial, and whether that process is still alive: by a lock, without clocks.

A sweep holds a lock file as long as it lives, and its trials say which one. The kernel frees the
lock when the process dies, however it dies; its workers die with it. The file says whose it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hrm_sweep.system import files
from hrm_sweep.system.locks import FileLock
from hrm_sweep.system.writers import LeaseState, describe_writer, writer_of, writer_state

LOCKS = ".*-*-????????.lock"


class Lease:
    """This process as the owner of trials in one study folder.

    What sweeps left there whose death is certain is removed.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.buried = _remove_dead(folder)
        """Lock files of sweeps that died without a word; one that had to stop has removed its."""
        name = f".{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.lock"
        self._path = folder.absolute() / name
        with files.creating(self._path) as temporary:  # it appears locked: a free one is removed
            self._lock = FileLock(temporary)
            self._lock.acquire()
            writer = writer_of(temporary)
            temporary.write_text(json.dumps(writer), encoding="utf-8")
        self.fields = {**writer, "lock": str(self._path)}
        """What a trial keeps of its owner."""

    def release(self) -> None:
        """Says that this process runs no trial of the study any more."""
        self._path.unlink(missing_ok=True)
        self._lock.release()


def expired_lease(folder: Path) -> dict[str, str]:
    """Return what a trial keeps of an owner in a study's folder whose process has ended."""
    return {**writer_of(folder), "lock": str(folder.absolute() / ".expired.lock")}


def lease_state(lease: Mapping[str, str]) -> LeaseState:
    """Return the state of a lease. A trial without a lease counts as expired."""
    if not lease:
        return LeaseState.EXPIRED
    return writer_state(lease, Path(lease["lock"]))


def sweeps_in(folder: Path) -> Iterator[str]:
    """Yield what is to be said of each sweep that works in a study folder, or may do so."""
    for path, writer, state in _locks(folder):
        if state is LeaseState.ALIVE:
            yield "works there now"
        elif state is LeaseState.UNKNOWN:
            where = f"on {describe_writer(writer)}, which cannot be seen from here"
            yield f"may work there, {where} (if it has ended, remove {path})"


def give_up(folder: Path, machine: str) -> None:
    """Remove the lock files of sweeps on a machine of which nothing is seen from here."""
    for path, writer, state in _locks(folder):
        if state is LeaseState.UNKNOWN and writer["host"] == machine:
            path.unlink(missing_ok=True)


def _remove_dead(folder: Path) -> set[str]:
    """Remove the lock files of dead sweeps, and the files that they had begun to write.

    Returns:
        Absolute paths of those lock files.
    """
    removed = set()
    for path, writer, state in _locks(folder):
        if writer and state is LeaseState.EXPIRED:
            files.remove_unfinished(folder, int(writer["pid"]))
            path.unlink(missing_ok=True)
            removed.add(str(path.absolute()))
    return removed


def _locks(folder: Path) -> Iterator[tuple[Path, dict[str, Any], LeaseState]]:
    for path in folder.glob(LOCKS):
        try:
            content = path.read_text(encoding="utf-8")
        except OSError:  # released since it was listed
            continue
        writer = {}
        with contextlib.suppress(ValueError):  # an older version, or a full disk, leaves it empty
            writer = json.loads(content)
        yield path, writer, writer_state(writer, path)
