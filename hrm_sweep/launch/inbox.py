"""Writer of files that arrive in messages, below one folder and nowhere else."""

from __future__ import annotations

import os
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from hrm_sweep.launch.messages import Appended, FileMessage, Part, travels, unpack
from hrm_sweep.system import files


class Inbox:
    """Writes what messages say into a folder.

    Args:
        folder: is created.
    """

    def __init__(self, folder: Path) -> None:
        files.make_folder(folder)
        self._folder = folder
        self._incoming: _Incoming | None = None
        """The file whose parts arrive."""

    def write(self, message: FileMessage) -> None:
        """Do what a message says.

        Raises:
            ValueError: it does not follow the ones before it, or is damaged, or names a file that
                is none of the run's.
            OSError, RecordError: the disk is full or gone.
        """
        if isinstance(message, Appended):
            self._append(message.name, message.offset, unpack(message.packed))
        elif isinstance(message, Part):
            self._add_part(message)
        else:
            self._remove(message.name)

    def close(self) -> None:
        """Drop the file that has not arrived as a whole."""
        self._drop_incoming()

    def _append(self, name: str, offset: int, data: bytes) -> None:
        with files.append(self._path(name)) as file:
            check_offset(name, offset, file.seek(0, os.SEEK_END))
            file.write(data)

    def _add_part(self, part: Part) -> None:
        path = self._path(part.name)
        if part.offset == 0:
            self._drop_incoming()
            self._incoming = _Incoming(path)
        incoming = self._incoming
        if incoming is None or incoming.path != path:
            raise ValueError(f"{part.name}: its beginning is missing")
        incoming.add(part)
        if part.checksum is not None:
            self._incoming = None
            incoming.finish(part.checksum)

    def _drop_incoming(self) -> None:
        if self._incoming is not None:
            self._incoming.drop()
            self._incoming = None

    def _remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        """Return the path of a file of the run; its folder is created.

        Raises:
            ValueError: the name leads out of the run's folder, or into a link there.
        """
        pure = PurePosixPath(name)
        is_plain = pure.as_posix() == name and not pure.is_absolute() and ".." not in pure.parts
        if not is_plain or "\0" in name or not pure.parts or not travels(name):
            raise ValueError(f"{name!r}: is no name of a file of the run")
        folder = self._folder
        for part in pure.parts[:-1]:
            folder /= part
            files.make_folder(folder)
        return folder / pure.name


class _Incoming:
    """A file that arrives in parts, beside the one whose place it takes."""

    def __init__(self, path: Path) -> None:
        files.check_no_link(path)
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}")  # as `files.replacing`
        self._temporary.unlink(missing_ok=True)
        self._file: BinaryIO = self._temporary.open("xb")
        self._size = self._checksum = 0

    def add(self, part: Part) -> None:
        check_offset(part.name, part.offset, self._size)
        data = unpack(part.packed)
        self._file.write(data)
        self._size += len(data)
        self._checksum = zlib.crc32(data, self._checksum)

    def finish(self, checksum: int) -> None:
        if self._checksum != checksum:
            self.drop()
            raise ValueError(f"{self.path.name}: a part of it is missing, or damaged")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self.path)
        files.sync_folder(self.path.parent)

    def drop(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def check_offset(name: str, offset: int, size: int) -> None:
    """Check that bytes of a file follow those that have arrived.

    Raises:
        ValueError: they do not.
    """
    if offset != size:
        raise ValueError(f"{name}: bytes from {offset} on arrived where {size} was the next")
