"""Mirror of a remote run's folder in the driver's: the record, and all that the run writes.

The driver holds the records while the run lives elsewhere: another sweep, `resume` and `delete` see
a running trial, and its death is seen like that of any writer. Lines are written as they came, so
the records are those of the node, byte by byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from hrm_sweep.launch.changes import FolderChanges
from hrm_sweep.launch.inbox import Inbox, check_offset
from hrm_sweep.launch.large_files import LargeFiles, Limits
from hrm_sweep.launch.messages import Appended, FileMessage, Notice, is_record, unpack
from hrm_sweep.runs import layout
from hrm_sweep.runs.record import Record


class Mirror(Inbox):
    """The driver's folder of a run, from before an attempt begins elsewhere until it has ended.

    Args:
        folder: of the run; is created.

    Raises:
        InputError: it is a symbolic link.
        RecordError: another process writes the run, its record was changed, or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._records = {layout.RECORD: Record(folder)}

    def snapshot(self) -> Iterator[FileMessage]:
        """Yield the files that earlier attempts have left, for the next one."""
        everything = LargeFiles(Limits(math.inf), run="")
        for message in FolderChanges(self._folder, everything).look(is_last=True):
            assert not isinstance(message, Notice)
            yield message

    def write(self, message: FileMessage) -> None:
        """Do what a message says; lines of a record are on disk when this returns.

        Raises:
            ValueError: it does not follow the ones before it, or is damaged, or names a file that
                is none of the run's.
            OSError, RecordError: the disk is full or gone.
        """
        if not is_record(message.name):
            super().write(message)
            return
        if not isinstance(message, Appended):
            raise ValueError(f"{message.name}: a record only grows")
        record = self._record(message.name)
        check_offset(message.name, message.offset, record.size)
        record.copy(unpack(message.packed))

    def close(self) -> None:
        """Release the records; what has not arrived as a whole is dropped."""
        super().close()
        for record in self._records.values():
            record.close()
        self._records = {}

    def _record(self, name: str) -> Record:
        if name not in self._records:
            self._records[name] = Record(self._path(name).parent)
        return self._records[name]
