"""Faults of the machine: what goes wrong with every program on it, and is mended from outside."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

SHARED = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS),
    *(errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.ENETUNREACH),
)
"""Disks and networks that are full, broken or gone. Memory, processes and open files are not among
them: a program that runs out of those may want too much."""
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


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
