"""What changed in a run's folder since the last look, as messages in an order that is safe to stop.

At home no checkpoint may be ahead of its record, or a resumed attempt would skip what was measured;
and no record may say that a run has ended before everything is there that the run has left. So the
recipe comes first, then the lines of records, then other files, and the ends of records last.
"""

from __future__ import annotations

import os
import stat
import time
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from hrm_sweep.launch.large_files import LargeFiles
from hrm_sweep.launch.messages import (
    PIECE_BYTES,
    Appended,
    FileMessage,
    Notice,
    Part,
    Removed,
    is_record,
    pack,
    travels,
)
from hrm_sweep.launch.new_lines import NewLines
from hrm_sweep.runs import layout

RECIPE = (layout.CONFIG, layout.OVERRIDES, layout.ENVIRONMENT)
SMALL_BYTES = 1 << 20
"""A larger file is sent when it has not changed between two looks: it may be half written."""
MOST_SECONDS = 10.0
"""How long a large file that keeps changing is waited for."""

Messages = Iterator[FileMessage | Notice]


class _Version(NamedTuple):
    """What tells one content of a file from another, without reading it."""

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: BinaryIO) -> _Version:
        status = os.fstat(file.fileno())
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


class _Sent(NamedTuple):
    version: _Version
    size: int
    checksum: int


class FolderChanges:
    """Reader of a run's folder, in which another process works meanwhile.

    Args:
        folder: of the run.
        large: decides on files that are too large to travel.
    """

    def __init__(self, folder: Path, large: LargeFiles) -> None:
        self._folder, self._large = folder, large
        self._lines = NewLines(folder)
        self._sent: dict[str, _Sent] = {}
        self._changing: dict[str, tuple[_Version, float]] = {}
        """Large files: as they were at the last look, and when they had begun to change."""

    def skip_present(self) -> None:
        """Take what is there now for sent."""
        self._lines.skip_present()
        for name, path in self._files():
            with path.open("rb") as file:
                version = _Version.of(file)
                self._sent[name] = _Sent(version, version.size, _checksum(file, version.size))

    def measured(self) -> Messages:
        """Yield the new lines of records, but not that a run has ended."""
        yield from self._lines.measured()

    def look(self, *, is_last: bool = False) -> Messages:
        """Yield what changed since the last look.

        Args:
            is_last: no process writes into the folder any more.
        """
        ended = self._lines.ended()
        present = dict(self._files())
        recipe = list(filter(_is_recipe, present))
        for name in recipe:
            yield from self._changed(name, present[name], is_whole=True)
        yield from self.measured()
        others = [name for name in present if name not in recipe]
        for name in sorted(others, key=layout.LOG.__eq__):  # which notices add to
            yield from self._changed(name, present[name], is_whole=is_last or bool(ended))
        for name in self._sent.keys() - present.keys():
            del self._sent[name]
            yield Removed(name)
            yield from self._large.forgotten(name)
        for name, length in ended.items():
            yield from self._lines.up_to(name, length)

    def _files(self) -> list[tuple[str, Path]]:
        """Return name and path of each file that travels but the records, the oldest first."""
        found = []
        for parent, _, names in os.walk(self._folder):
            for path in (Path(parent, name) for name in names):
                name = path.relative_to(self._folder).as_posix()
                if travels(name) and not is_record(name) and self._is_own(path):
                    found.append((name, path))
        return sorted(found, key=_age)

    def _is_own(self, path: Path) -> bool:
        """Return whether there is a regular file of the run; a link out of its folder is none."""
        try:
            if path.is_symlink() and not path.resolve().is_relative_to(self._folder.resolve()):
                return False
            return stat.S_ISREG(path.stat().st_mode)
        except OSError:
            return False

    def _changed(self, name: str, path: Path, *, is_whole: bool) -> Messages:
        """Yield what is new in a file, unless it is being written now."""
        try:
            file = path.open("rb")
        except OSError:  # it was replaced or removed meanwhile
            return
        with file:
            version, sent = _Version.of(file), self._sent.get(name)
            if sent is not None and sent.version == version:
                return
            has_grown = sent is not None and _begins_with(file, version, sent)
            if not (is_whole or has_grown) and self._is_changing(name, version):
                return
            self._changing.pop(name, None)
            if self._large.is_too_large(version.size):
                self._sent[name] = _Sent(version, 0, 0)
                yield from self._kept_elsewhere(name, path)
            elif has_grown and sent is not None:
                yield from self._appended(name, file, version, sent)
            else:
                yield from self._replaced(name, file, version)
                yield from self._large.forgotten(name)

    def _is_changing(self, name: str, version: _Version) -> bool:
        """Return whether a large file has changed since the last look, for not too long."""
        if version.size <= SMALL_BYTES:
            return False
        before, since = self._changing.get(name, (None, time.monotonic()))
        self._changing[name] = version, since
        return before != version and time.monotonic() - since < MOST_SECONDS

    def _appended(self, name: str, file: BinaryIO, version: _Version, sent: _Sent) -> Messages:
        offset, checksum = sent.size, sent.checksum
        for data in _pieces(file, offset, version.size):
            checksum = zlib.crc32(data, checksum)
            yield Appended(name, offset, pack(data))
            offset += len(data)
        self._sent[name] = _Sent(version, offset, checksum)

    def _replaced(self, name: str, file: BinaryIO, version: _Version) -> Messages:
        offset, checksum, data = 0, 0, b""
        for piece in _pieces(file, 0, version.size):
            if data:
                yield Part(name, offset - len(data), pack(data), None)
            data, offset = piece, offset + len(piece)
            checksum = zlib.crc32(data, checksum)
        if not _is_recipe(name):
            yield from self.measured()  # what is in the file was measured before
        yield Part(name, offset - len(data), pack(data), checksum)
        self._sent[name] = _Sent(version, offset, checksum)

    def _kept_elsewhere(self, name: str, path: Path) -> Messages:
        kept = self._large.keep(name, path)
        yield from self.measured()
        yield from kept


def _is_recipe(name: str) -> bool:
    """Return whether a file is written before the record begins."""
    return PurePosixPath(name).name in RECIPE


def _age(found: tuple[str, Path]) -> int:
    try:
        return found[1].stat().st_mtime_ns
    except OSError:  # it was removed meanwhile
        return 0


def _begins_with(file: BinaryIO, version: _Version, sent: _Sent) -> bool:
    """Return whether a file has what was sent of it, and perhaps more."""
    is_same = version.inode == sent.version.inode and 0 < sent.size <= version.size
    return is_same and _checksum(file, sent.size) == sent.checksum


def _checksum(file: BinaryIO, size: int) -> int:
    """Return the CRC-32 of the first bytes of a file."""
    checksum = 0
    for data in _pieces(file, 0, size):
        checksum = zlib.crc32(data, checksum)
    return checksum


def _pieces(file: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of a file between two places; fewer if it was cut meanwhile."""
    file.seek(begin)
    while begin < end and (data := file.read(min(PIECE_BYTES, end - begin))):
        yield data
        begin += len(data)
