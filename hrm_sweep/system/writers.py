"""Who writes a file, and whether that process is still alive: by a lock and by where it runs.

A lock that is held proves that its holder lives. A free one proves nothing where locks are seen on
one machine alone (NFS with `nolock`, Lustre with `localflock`) or in one container alone. So a
writer says who it is, and is declared dead only from where its death can be seen.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from hrm_sweep.system.locks import is_held

PROC = Path("/proc")  # macOS has none: there the host's name and the lock decide
MACHINE_ID = Path("/etc/machine-id")
FIRST_PIDS = "pid:[4026531836]"
"""Process ids of a machine itself and not of a container: PROC_PID_INIT_INO in Linux' proc_ns.h."""
JOB_IDS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
ENDED_STATES = ("Z", "X")  # proc_pid_stat(5): the parent has yet to ask how it ended

_set_writer: Mapping[str, str] | None = None


class LeaseState(Enum):
    """What can be seen from here of a writer, or of a sweep that owns a trial."""

    ALIVE = "it holds its lock"
    EXPIRED = "its process has ended"
    UNKNOWN = "it is, or was, on another machine or in another container"


def writer_of(file: Path) -> dict[str, str]:
    """Return who this process is, as the writer of a file that is there.

    That is host, boot, namespaces, process, its job in a cluster, and which file it is; or the
    process that was set by `set_writer`.
    """
    return dict(_set_writer or {**_this_process(os.getpid()), "inode": str(file.stat().st_ino)})


def writer_of_copies() -> dict[str, str]:
    """Return who this process is, as the one that holds what other machines write.

    Which file it is stays open, so that its lock alone decides.
    """
    return {**_this_process(os.getpid()), "inode": ""}


def set_writer(writer: Mapping[str, str] | None) -> None:
    """Name another process as the writer of what this one writes; None: itself."""
    global _set_writer
    _set_writer = writer


def writer_state(writer: Mapping[str, str], lock: Path) -> LeaseState:
    """Return the state of a writer.

    Args:
        writer: what `writer_of` returned there; older versions wrote a part of it or nothing, and
            are judged by that.
        lock: file that the writer locks as long as it lives.
    """
    if _holds(lock):
        return LeaseState.ALIVE
    here = _this_process(os.getpid())
    differing = {key for key in here if writer.get(key, here[key]) != here[key]}
    if differing & {"host", "machine"}:
        return LeaseState.UNKNOWN
    if "boot" in differing:
        has_restarted = "machine" in writer and writer["pids"] == here["pids"] in ("", FIRST_PIDS)
        return LeaseState.EXPIRED if has_restarted else LeaseState.UNKNOWN
    if not differing & {"pid", "since"}:  # this process, and its lock is free
        return LeaseState.EXPIRED
    if writer.get("pids") and "pids" not in differing:
        is_running = _is_running(int(writer["pid"]), writer["since"])
        return LeaseState.ALIVE if is_running and not _is_copy(lock, writer) else LeaseState.EXPIRED
    return LeaseState.UNKNOWN if "mounts" in differing else LeaseState.EXPIRED


def describe_writer(writer: Mapping[str, str]) -> str:
    """Return where a writer runs, in words: `node7 (SLURM_JOB_ID=12)`."""
    job = f" ({writer['job']})" if writer.get("job") else ""
    return f"{writer.get('host', '?')}{job}"


@functools.lru_cache(maxsize=1)
def _this_process(pid: int) -> Mapping[str, str]:
    jobs = (f"{name}={os.environ[name]}" for name in JOB_IDS if name in os.environ)
    return {
        "host": socket.gethostname(),
        "machine": _text(MACHINE_ID),
        "boot": _text(PROC / "sys/kernel/random/boot_id"),
        "mounts": _namespace("mnt"),
        "pids": _namespace("pid"),
        "pid": str(pid),
        "since": _stat(pid)[1],
        "job": next(jobs, ""),
    }


def _holds(lock: Path) -> bool:
    """Return whether a lock is held, or may be: on a disk without locks each counts as held."""
    try:
        return is_held(lock)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _is_copy(lock: Path, writer: Mapping[str, str]) -> bool:
    """Return whether a file is not the one that the writer has; it may not be seen from here."""
    try:
        return str(lock.stat().st_ino) != writer["inode"]
    except OSError:
        return False


def _is_running(pid: int, since: str) -> bool:
    """Return whether a process of this machine runs, and is not a later one of the same id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    state, begun = _stat(pid)
    return state not in ENDED_STATES and begun in (since, "")


def _stat(pid: int) -> tuple[str, str]:
    """Return state and start of a process, in ticks since the boot; "" where that is hidden."""
    fields = _text(PROC / str(pid) / "stat").rpartition(")")[2].split()
    return (fields[0], fields[19]) if fields else ("", "")


def _namespace(kind: str) -> str:
    try:
        return str((PROC / "self/ns" / kind).readlink())
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
