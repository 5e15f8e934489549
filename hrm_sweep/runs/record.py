"""The record: what one run wrote down, line by line, in `record.jsonl` of its folder.

Every line is one JSON object, numbered from 0 and closed by a CRC-32 of all that stands before it:

    {"n": 3, "time": 1763811000123, "event": "metrics", "step": 1, "values": {}, "crc": "9a1b02cd"}

`time` is in milliseconds since 1970 and frozen here: whoever projects the record (MLflow, Optuna,
figures) uses it, so that a replay adds nothing. Line 0 also has `record`, which names this record
among all others, wherever its folder is copied to. Events, in the order they come:

* `started`: who the run is (`name`, `kind`, `params`, `tags`, `description`) and which process is
  its `writer`, once an attempt; a study also has how its trials are `judged`;
* `dataset`: what it learns from (`name`, `train_size`, `eval_size`, `digest`);
* `expected`: the `num_steps` it will have;
* `doing`: what it does before its next step, as a `text`, where that takes long; if that is a run
  with a record of its own, the `folder` below that has it;
* `metrics`: `step` and `values`; not-a-number and infinities are the strings "nan", "inf", "-inf";
* `rewound`: from its `step` on, what earlier attempts measured is void, because this one measured
  other values; see `hrm_sweep.runs.curves`;
* `finished`: the `outcome` and, where it has them, `best` values, `reason`, `traceback`, the
  `seconds` of all attempts, what this one used of the `system` and the `artifacts` to keep (names
  below the folder). Last, unless another attempt follows.
"""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import layout
from hrm_sweep.runs.logs import mask_logs
from hrm_sweep.system import files, locks, shell, writers
from hrm_sweep.system.redact import redacted_tree
from hrm_sweep.system.writers import LeaseState

PATIENCE_SECONDS = 2.0
"""How long opening waits for a holder that only looks whether the run still lives."""
UNBORN = f".{layout.RECORD}."
"""Beginning of the name of a record that has no entry yet."""
DEATH = "its process ended without a word: a signal, no memory left, or a power cut"


class Entry(NamedTuple):
    """One line of a record."""

    number: int
    time_ms: int
    event: str
    fields: dict[str, Any]


class Record:
    """The writing end. An entry is on disk when `append` returns.

    One process holds it, by a lock that dies with the process: `write_end` knows the dead by it. A
    new record gets its name with its first entry, so that no reader sees an empty one.

    Raises:
        RecordError: another process writes it, the folder cannot be written, or a line was changed.
    """

    def __init__(self, folder: Path) -> None:
        self._path = self._at = folder / layout.RECORD
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (self._path.exists() or self._path.is_symlink()):
                _remove_unborn(folder)
                self._at = folder / f"{UNBORN}{uuid.uuid4().hex[:8]}"
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            self._file = os.fdopen(os.open(self._at, flags, 0o644), "r+b", 0)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._lock = _acquired_lock(self._at)
            entries, self._end = _parse(self._file.read(), folder)
            self._file.truncate(self._end)  # a torn last line: its writer was killed inside it
        except RecordError:
            self._file.close()
            raise
        self._next = len(entries)
        self.attempt = _attempt(entries)
        """The `started` entry of an attempt that was unfinished when the record was opened."""
        self.started = 0
        """Number of the last `started` entry that was written here."""

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, event: str, **fields: Any) -> None:
        """Write one entry durably; `fields` are JSON values, secrets in them are masked.

        Raises:
            RecordError: the disk is full or gone; the entries before this one are whole.
        """
        said = {}
        if event == "started":
            self.started, said = self._next, {"writer": writers.writer_of(self._at)}
        self._append(event, marked(redacted_tree(fields)) | said)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write the measurements of one step; values may be non-finite."""
        self._append(
            "metrics", {"step": step, "values": {k: _number(v) for k, v in values.items()}}
        )

    @property
    def size(self) -> int:
        """Bytes of its whole entries."""
        return self._end

    def copy(self, lines: bytes) -> None:
        """Append entries durably that a record of another machine has, as they are.

        Raises:
            ValueError: they are not whole, or not the next ones.
            RecordError: the disk is full or gone; the entries before these are whole.
        """
        try:
            entries, whole = _parse(lines, self._path.parent, first=self._next)
        except RecordError:
            whole = 0
        if whole != len(lines):
            raise ValueError(f"{self._path}: what arrived are not its next {len(lines)} bytes")
        self._append_bytes(lines, num_entries=len(entries))

    def close(self) -> None:
        """Release the record, for another attempt or for `write_end`."""
        if self._at != self._path:
            self._at.unlink(missing_ok=True)
        self._file.close()
        self._lock.release()

    def _append(self, event: str, fields: dict[str, Any]) -> None:
        head = {"n": self._next, "time": time.time_ns() // 1_000_000, "event": event}
        if self._next == 0:
            head["record"] = uuid.uuid4().hex
        assert not fields.keys() & head.keys(), "a field has the name of one of ours"
        self._append_bytes(_line({**head, **fields}), num_entries=1)

    def _append_bytes(self, lines: bytes, *, num_entries: int) -> None:
        before = self._end, self._next
        after = self._end + len(lines), self._next + num_entries
        try:
            self._write(lines)
            self._end, self._next = after
        except OSError as error:
            self._cut_off(*before)
            raise self._unwritable(error) from error
        except BaseException:  # Ctrl-C; what is on disk as a whole stays, readers have seen it
            is_whole = os.fstat(self._file.fileno()).st_size >= after[0]
            self._cut_off(*(after if is_whole else before))
            raise

    def _cut_off(self, end: int, next_number: int) -> None:
        """Continue the file from where it is whole."""
        self._end, self._next = end, next_number
        with contextlib.suppress(OSError):  # if this fails too, the next opening repairs it
            self._file.truncate(end)

    def _write(self, lines: bytes) -> None:
        written = 0
        while written < len(lines):
            written += os.pwrite(self._file.fileno(), lines[written:], self._end + written)
        os.fsync(self._file.fileno())
        if self._at != self._path:
            self._give_name()

    def _give_name(self) -> None:
        """Let the record appear, with its first entry in it."""
        try:
            has_name = files.give_name(self._at, self._path)
        except FileNotFoundError:  # another process took this one for dead
            has_name = False
        if not has_name:
            raise _is_written_by_another(self._path)
        self._at.unlink(missing_ok=True)
        self._at = self._path

    def _unwritable(self, error: OSError) -> RecordError:
        return RecordError(
            f"{self._path}: cannot be written ({error.strerror}); "
            "what was written before is safe; free the disk or take another folder"
        )


class RecordReader:
    """The reading end: follows a record while another process writes it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._next = folder, 0
        self.offset = 0
        """Bytes of the record that have been read as whole entries."""

    def new_entries(self) -> list[Entry]:
        """Return the whole entries since the last call; a torn tail waits for its rest.

        Raises:
            RecordError: a line was changed or lost.
        """
        try:
            with (self._folder / layout.RECORD).open("rb") as file:
                if file.seek(0, os.SEEK_END) < self.offset:
                    raise damaged(self._folder, "lines are missing at its end")
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self._folder, error) from None
        entries, whole = _parse(data, self._folder, first=self._next)
        self.offset += whole
        self._next += len(entries)
        return entries


def read(folder: Path) -> list[Entry]:
    """All whole entries of the record in `folder`.

    Raises:
        RecordError: there is no record, or a line before the last was changed or lost.
    """
    if not (folder / layout.RECORD).exists():
        raise _missing(folder)
    return RecordReader(folder).new_entries()


def ends(folder: Path) -> tuple[Entry, Entry]:
    """Return the first and the last whole entry of a record; those between are checked only.

    Raises:
        RecordError: there is no record, it is empty, or a line was changed or lost.
    """
    try:
        data = (folder / layout.RECORD).read_bytes()
    except FileNotFoundError:
        raise _missing(folder) from None
    except OSError as error:
        raise _unreadable(folder, error) from None
    lines = [line for line, _ in _checked_lines(data, folder)]
    if not lines:
        raise RecordError(f"{folder / layout.RECORD}: has no whole entry yet")
    begin, end = _entry(lines[0], folder), _entry(lines[-1], folder)
    if begin.event != "started":
        raise damaged(folder, "its first line is not the start of a run")
    return begin, end


def has_begun(folder: Path) -> bool:
    """Return whether the record in a folder has a whole entry."""
    try:
        with (folder / layout.RECORD).open("rb") as file:
            return file.readline().endswith(b"\n")
    except OSError:
        return False


def values_of(entry: Entry) -> dict[str, float]:
    """Return the measurements of a `metrics` entry, with nan and infinities as floats."""
    return {name: float(value) for name, value in entry.fields["values"].items()}


class Stopwatch:
    """Time of all attempts together, without the time between them.

    An attempt that died counts up to its last entry.
    """

    def __init__(self) -> None:
        self._total, self._begin, self._last = 0.0, 0, 0

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._total + (self._last - self._begin) / 1000

    def read(self, entry: Entry) -> None:
        """Take the next entry of the record into account."""
        if entry.event == "finished":  # its seconds are also those of the attempts before it
            self._total, self._begin = float(entry.fields.get("seconds", self.seconds)), self._last
            return
        if entry.event == "started":
            self._total, self._begin = self.seconds, entry.time_ms
        self._last = entry.time_ms


def seconds_worked(entries: list[Entry]) -> float:
    """Return the seconds that a stopwatch shows after all entries."""
    stopwatch = Stopwatch()
    for entry in entries:
        stopwatch.read(entry)
    return stopwatch.seconds


def is_open(entries: list[Entry]) -> bool:
    """Whether the last attempt has not said how it ended."""
    return _attempt(entries) is not None


def is_held(folder: Path) -> bool:
    """Return whether a living process holds the record in `folder`, or may hold it.

    True on a disk without locks.
    """
    path = folder / layout.RECORD
    try:
        return locks.is_held(path)
    except FileNotFoundError:
        raise
    except OSError:
        return True


def writer_of(folder: Path) -> tuple[dict[str, str], LeaseState]:
    """Return which process writes a record, nothing if none does, and what is seen of it.

    An attempt that has said how it ended has no writer; older versions did not say who it is.

    Raises:
        RecordError: there is no record, or it is damaged.
    """
    attempt = _attempt(read(folder))
    writer = attempt.fields.get("writer", {}) if attempt else {}
    return writer, writers.writer_state(writer, folder / layout.RECORD)


def write_end(
    folder: Path, *, outcome: str = "killed", reason: str = DEATH, has_ended: bool = False
) -> bool:
    """Write how a run ended whose process is gone without a `finished` entry.

    Args:
        has_ended: whoever asks knows that it has: it launched the run, or the user says so.

    Returns:
        True if it was written now; False if the run lives or may live, has ended, or never started.
    """
    if not (folder / layout.RECORD).exists() or is_held(folder) or not is_open(read(folder)):
        return False
    writer, state = writer_of(folder)
    if state is not LeaseState.EXPIRED and not has_ended:
        return False
    with Record(folder) as record:
        if record.attempt is None:  # another process was faster
            return False
        record.append(
            "finished",
            outcome=outcome,
            best={},
            reason=reason,
            artifacts=[
                name
                for name in record.attempt.fields.get("artifacts", [])
                if (folder / name).exists()
            ],
        )
        if writer and state is LeaseState.EXPIRED:
            files.remove_unfinished(folder, int(writer["pid"]))
        mask_logs(folder)
    return True


def has_advanced(entries: Iterable[Entry]) -> bool:
    """Return whether the last attempt has measured a step beyond those of all before it.

    Other values at steps that were there (`rewound`) are no advance: a trial that never measures
    the same twice would end at the same step again and again.
    """
    reached = reached_before = -1
    for entry in entries:
        if entry.event == "started":
            reached_before = reached
        elif entry.event == "metrics":
            reached = max(reached, entry.fields["step"])
    return reached > reached_before


def _attempt(entries: list[Entry]) -> Entry | None:
    ends = [entry for entry in entries if entry.event in ("started", "finished")]
    return ends[-1] if ends and ends[-1].event == "started" else None


def _acquired_lock(path: Path) -> locks.FileLock:
    lock = locks.FileLock(path)
    try:
        is_acquired = lock.acquire(timeout=PATIENCE_SECONDS)
    except OSError:  # a disk without locks: no run is declared dead there
        return lock
    if not is_acquired:
        lock.release()
        raise _is_written_by_another(path)
    return lock


def _is_written_by_another(path: Path) -> RecordError:
    return RecordError(f"{path}: another process is writing it; wait for its end or stop it")


def _remove_unborn(folder: Path) -> None:
    """Remove what processes have left that were killed before their first entry."""
    for path in folder.glob(f"{UNBORN}*"):
        with contextlib.suppress(OSError):
            if not locks.is_held(path):
                path.unlink()


def _number(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def marked(value: Any) -> Any:
    """Return a tree of JSON values with non-finite numbers as text, which JSON does not have."""
    if isinstance(value, dict):
        return {key: marked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [marked(inner) for inner in value]
    return _number(value) if isinstance(value, float) else value


def _line(fields: dict[str, Any]) -> bytes:
    body = json.dumps(fields, allow_nan=False)[:-1].encode()
    return body + b', "crc": "%08x"}\n' % zlib.crc32(body)


def _parse(data: bytes, folder: Path, *, first: int = 0) -> tuple[list[Entry], int]:
    """Return the whole entries of `data`, the first of which has a number, and their length."""
    entries, whole = [], 0
    for line, whole in _checked_lines(data, folder, first=first):  # noqa: B007  the last one counts
        entries.append(_entry(line, folder))
    return entries, whole


def _checked_lines(data: bytes, folder: Path, *, first: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yield the JSON of each whole line, and where the line ends.

    The last line may be torn: its writer was killed, or the disk has its end, but not all before
    it, since a power cut.

    Raises:
        RecordError: another line was changed or lost.
    """
    begin, number = 0, first
    while (end := data.find(b"\n", begin) + 1) > 0:
        line = data[begin:end].rstrip(b"\r\n")  # an editor or git may have made it \r\n
        if end == len(data) and b"\0" in line:
            return
        body, _, crc = line.rpartition(b', "crc": "')
        if crc != b'%08x"}' % zlib.crc32(body):
            what = "changed after it was written (its checksum does not fit)"
            raise damaged(folder, what, line=number + 1)
        if not body.startswith(b'{"n": %d, ' % number):
            raise damaged(folder, "lines are missing before it", line=number + 1)
        yield body + b"}", end
        begin, number = end, number + 1


def _entry(line: bytes, folder: Path) -> Entry:
    try:
        fields = json.loads(line)
        return Entry(fields.pop("n"), fields.pop("time"), fields.pop("event"), fields)
    except (ValueError, KeyError, AttributeError):
        raise damaged(folder, "has a line that is no entry") from None


def damaged(folder: Path, what: str, *, line: int | None = None) -> RecordError:
    """Return the error for a record that proves nothing any more, with the way out.

    What is set aside is kept, and out of the way: `resume` then runs a trial from its beginning.
    """
    place = f"{folder / layout.RECORD}" + (f", line {line}" if line else "")
    return RecordError(f"{place}: {what}; set it aside with: mv {shell.join(set_aside(folder))}")


def set_aside(folder: Path) -> tuple[str, str]:
    """Return what is damaged with a record, and the name that it can have instead.

    Of a study it is the record alone, of a run the whole folder: a checkpoint goes with the record.
    """
    is_study = (folder / layout.SWEEP_CONFIG).exists()
    path = folder / layout.RECORD if is_study else folder
    taken = sum(1 for _ in path.parent.glob(f"{glob.escape(path.name)}*{layout.SET_ASIDE}"))
    number = f".{taken + 1}" if taken else ""
    return str(path), f"{path}{number}{layout.SET_ASIDE}"


def _missing(folder: Path) -> RecordError:
    return RecordError(f"{folder}: no {layout.RECORD} here; a run folder has one")


def _unreadable(folder: Path, error: OSError) -> RecordError:
    return damaged(folder, f"cannot be read ({error.strerror})")
