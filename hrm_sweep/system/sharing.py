"""Files at two places that take the room of one, where the file system can do that."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from hrm_sweep.system import files

FICLONE = 0x40049409
"""Linux's request to clone a file: see ioctl_ficlone(2). Btrfs, XFS and others can do that."""


def place(source: Path, target: Path, *, may_link: bool) -> None:
    """Let `target` have the content of `source`, replacing it whole or not at all.

    A clone shares the room of its source until either is changed, and is tried first. A hard link
    is the same file under two names; else the content is copied.

    Args:
        may_link: neither file is ever rewritten in place, only replaced by renaming.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(target) as temporary:
        if _is_cloned(source, temporary):
            return
        if may_link and _is_linked(source, temporary):
            return
        shutil.copy2(source, temporary)


def _is_cloned(source: Path, target: Path) -> bool:
    try:
        with source.open("rb") as old, target.open("xb") as new:
            fcntl.ioctl(new, FICLONE, old.fileno())
    except OSError:  # another disk, or one without clones
        target.unlink(missing_ok=True)
        return False
    shutil.copystat(source, target)
    return True


def _is_linked(source: Path, target: Path) -> bool:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or one without links
        return False
    return True
