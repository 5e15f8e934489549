"""How much of a disk a folder takes."""

from __future__ import annotations

import os
from pathlib import Path


class DiskUse:
    """Counts what folders take, a file that several of them link to once, for the first."""

    def __init__(self) -> None:
        self._linked: set[tuple[int, int]] = set()

    def of(self, folder: str | Path) -> int:
        """Return the bytes that a folder takes on its disk; what cannot be read takes none."""
        try:
            with os.scandir(folder) as entries:
                return sum(map(self._of_entry, entries))
        except OSError:
            return 0

    def _of_entry(self, entry: os.DirEntry[str]) -> int:
        try:
            stat = entry.stat(follow_symlinks=False)
        except OSError:  # removed since it was listed
            return 0
        if stat.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
            if (stat.st_dev, stat.st_ino) in self._linked:
                return 0
            self._linked.add((stat.st_dev, stat.st_ino))
        below = self.of(entry.path) if entry.is_dir(follow_symlinks=False) else 0
        return stat.st_blocks * 512 + below
