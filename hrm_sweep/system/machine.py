"""Faults of the machine: what goes wrong with every program on it, and is mended from outside."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

SHARED = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS),
    *(errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.ENETUNREACH),
)
"""Disks and networks that are full, broken or gone. Memory, processes and open files are not among
them: a program that runs out of those may want too much."""
NO_ROOM = 1_000_000
"""Bytes with which a disk counts as full: what failed has removed its temporary file."""
WORDS = (
    *map(os.strerror, SHARED),
    "database or disk is full",
    "PytorchStreamWriter failed writing",
)
"""An exception that came through another library, or from another process, has its text only."""


def fault_of(error: BaseException | None) -> str:
    """Return the fault of the machine that an exception tells of; empty if it is none."""
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in SHARED:
            return os.strerror(each.errno)
        for words in WORDS:
            if words in str(each):
                return words
    return ""


def describe(error: BaseException | None, *places: str | Path | None) -> str:
    """Return the fault of the machine that an exception tells of, and which disk has no room.

    Empty if it is none.

    Args:
        places: files and folders that were written, besides the working folder.
    """
    fault = fault_of(error)
    files = [getattr(each, "filename", None) for each in _chain(error)]
    named = [file for file in files if isinstance(file, str)]
    return fault and fault + full_disk(*places, *named, ".", os.environ.get("TMPDIR", "/tmp"))


def full_disk(*places: str | Path | None) -> str:
    """Return the first place whose disk has next to no room, as `: the disk of /a is full`.

    Empty if none has; a place that does not exist yet stands for the folder above.
    """
    for place in (Path(each).absolute() for each in places if each):
        there = next(path for path in (place, *place.parents) if path.is_dir())
        room = os.statvfs(there)
        if room.f_bavail * room.f_frsize < NO_ROOM:
            return f": the disk of {there} is full"
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
