"""The record: what one run wrote down, line by line, in `record.jsonl` of its folder.

Every line is one JSON object, numbered from 0 and closed by a CRC-32 of all that stands before it:

    {"n": 3, "time": 1763811000123, "event": "metrics", "step": 1, "values": {...}, "crc": "9a1b02cd"}

`time` is in milliseconds since 1970 and frozen here: whoever projects the record (MLflow, Optuna,
figures) uses it, so that a replay adds nothing. Events, in the order they come:

* `started`: who the run is (`name`, `params`, `tags`, `artifacts`), once for each attempt;
* `metrics`: `step` and `values`; not-a-number and infinities are the strings "nan", "inf", "-inf";
* `finished`: the `outcome` and, where it has them, `best` values, `reason`, `traceback`. Last.
"""

from __future__ import annotations

import json
import math
import os
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hrm_sweep.errors import RecordError

FILE_NAME = "record.jsonl"


class Entry(NamedTuple):
    """One line of a record."""

    number: int
    time_ms: int
    event: str
    fields: dict[str, Any]


class Record:
    """The writing end; one process holds it. An entry is on disk when `append` returns."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / FILE_NAME).open("r+b" if (folder / FILE_NAME).exists() else "w+b")
        entries, whole = _parse(self._file.read(), folder)
        self._file.truncate(whole)  # a torn last line: its writer was killed inside it
        self._file.seek(whole)
        self._next = len(entries)

    def append(self, event: str, **fields: Any) -> None:
        """Writes one entry durably; `fields` hold JSON values, numbers may be non-finite."""
        head = {"n": self._next, "time": time.time_ns() // 1_000_000, "event": event}
        self._file.write(_line({**head, **fields}))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._next += 1

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the measurements of one step."""
        self.append("metrics", step=step, values={k: _number(v) for k, v in values.items()})

    def close(self) -> None:
        self._file.close()


class RecordReader:
    """The reading end: follows a record while another process writes it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._offset, self._next = folder, 0, 0

    def new_entries(self) -> list[Entry]:
        """The whole entries that came since the last call; a torn tail waits for its rest."""
        try:
            with (self._folder / FILE_NAME).open("rb") as file:
                file.seek(self._offset)
                entries, whole = _parse(file.read(), self._folder, first=self._next)
        except FileNotFoundError:
            return []
        self._offset += whole
        self._next += len(entries)
        return entries


def read(folder: Path) -> list[Entry]:
    """All whole entries of the record in `folder`.

    Raises:
        RecordError: there is no record, or a line before the last was changed or lost.
    """
    if not (folder / FILE_NAME).exists():
        raise RecordError(f"{folder}: no {FILE_NAME} here; a run folder has one")
    return RecordReader(folder).new_entries()


def values_of(entry: Entry) -> dict[str, float]:
    """The measurements of a `metrics` entry; marked values come back as nan and infinities."""
    return {name: float(value) for name, value in entry.fields["values"].items()}


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(float(value))


def _line(fields: dict[str, Any]) -> bytes:
    body = json.dumps(fields, allow_nan=False, ensure_ascii=False)[:-1].encode()
    return body + b', "crc": "%08x"}\n' % zlib.crc32(body)


def _parse(data: bytes, folder: Path, *, first: int = 0) -> tuple[list[Entry], int]:
    """Entries of `data` and the length of their lines; only the last line may be incomplete."""
    entries: list[Entry] = []
    whole = data.rfind(b"\n") + 1
    for line in data[:whole].splitlines():
        number = first + len(entries)
        body, _, crc = line.rpartition(b', "crc": "')
        if crc != b'%08x"}' % zlib.crc32(body):
            raise RecordError(
                f"{folder / FILE_NAME}, line {number + 1}: changed after it was written "
                "(its checksum does not fit); this record proves nothing any more"
            )
        fields = json.loads(body + b"}")
        if fields.pop("n") != number:
            raise RecordError(f"{folder / FILE_NAME}, line {number + 1}: lines are missing before it")
        entries.append(Entry(number, fields.pop("time"), fields.pop("event"), fields))
    return entries, whole
