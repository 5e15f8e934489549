"""New lines of the records in a run's folder: the trial's own, and those of its repeats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from hrm_sweep.launch.messages import PIECE_BYTES, Appended, is_record, pack
from hrm_sweep.runs import layout


class NewLines:
    """Reader of whole lines that another process appends meanwhile.

    The line that a run has ended is kept back: what the run has left is read before it is sent.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sent: dict[str, int] = {}
        """Bytes of each record."""

    def skip_present(self) -> None:
        """Take what is there now for sent."""
        self._sent = {name: len(self._read(name)) for name in self._names()}

    def ended(self) -> dict[str, int]:
        """Return the lengths of the records that end with such a line, by name."""
        new = {name: self._read(name) for name in self._names()}
        return {name: self._offset(name) + len(lines) for name, lines in new.items() if _end(lines)}

    def measured(self) -> Iterator[Appended]:
        """Yield the new lines, without a last one that the run has ended."""
        for name in self._names():
            lines = self._read(name)
            yield from self._append(name, lines.removesuffix(_end(lines)))

    def up_to(self, name: str, length: int) -> Iterator[Appended]:
        """Yield the new lines of a record up to a length of it."""
        yield from self._append(name, self._read(name)[: max(0, length - self._offset(name))])

    def _names(self) -> list[str]:
        """Return the names of the records that are there."""
        found = [path for depth in ("", "*/") for path in self._folder.glob(depth + layout.RECORD)]
        names = [path.relative_to(self._folder).as_posix() for path in found]
        return [name for name in names if is_record(name)]

    def _offset(self, name: str) -> int:
        return self._sent.get(name, 0)

    def _read(self, name: str) -> bytes:
        with (self._folder / name).open("rb") as file:
            file.seek(self._offset(name))
            data = file.read()
        return data[: data.rfind(b"\n") + 1]

    def _append(self, name: str, lines: bytes) -> Iterator[Appended]:
        """Yield lines in messages of whole lines; one may be longer than a piece."""
        while lines:
            end = len(lines)
            if end > PIECE_BYTES:
                end = lines.rfind(b"\n", 0, PIECE_BYTES) + 1 or lines.find(b"\n") + 1
            offset = self._offset(name)
            self._sent[name] = offset + end
            yield Appended(name, offset, pack(lines[:end]))
            lines = lines[end:]


def _end(lines: bytes) -> bytes:
    """Return the last of some lines if it says that the run has ended; else nothing."""
    last = lines[lines.rfind(b"\n", 0, len(lines) - 1) + 1 :]
    return last if last and json.loads(last).get("event") == "finished" else b""
