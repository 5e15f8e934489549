"""The record survives its writer: kills, full disks, edits, and readers that look meanwhile."""

from __future__ import annotations

import json
import math
import os
import time
import zlib
from pathlib import Path

import pytest

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import layout
from hrm_sweep.runs.record import (
    Entry,
    Record,
    RecordReader,
    has_advanced,
    read,
    seconds_worked,
    values_of,
    write_end,
)


def write(folder: Path, *steps: int) -> None:
    with Record(folder) as record:
        record.append("started", name="run")
        for step in steps:
            record.metrics(step, {"train/loss": 1 / step})


def test_what_is_appended_is_read_in_order(tmp_path):
    before = time.time_ns() // 1_000_000
    write(tmp_path, 1, 2)
    started, first, second = read(tmp_path)
    assert (started.number, started.event, started.fields["name"]) == (0, "started", "run")
    assert [values_of(first), values_of(second)] == [{"train/loss": 1.0}, {"train/loss": 0.5}]
    assert before <= started.time_ms <= first.time_ms <= second.time_ms


def test_a_line_is_json_with_a_checksum_of_its_own(tmp_path):
    write(tmp_path, 1)
    line = (tmp_path / layout.RECORD).read_bytes().splitlines()[1]
    body, crc = line.split(b', "crc": "')
    assert json.loads(line)["values"] == {"train/loss": 1.0}
    assert crc == f'{zlib.crc32(body):08x}"}}'.encode()


def test_a_record_keeps_its_name_when_it_is_copied_and_reopened(tmp_path):
    write(tmp_path / "a", 1)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / layout.RECORD).write_bytes((tmp_path / "a" / layout.RECORD).read_bytes())
    write(tmp_path / "b", 2)
    write(tmp_path / "c", 1)
    a, b, c = (read(tmp_path / name)[0].fields["record"] for name in "abc")
    assert a == b != c
    assert "record" not in read(tmp_path / "b")[2].fields


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e-300, 0.1, 3])
def test_every_number_comes_back(tmp_path, value):
    with Record(tmp_path) as record:
        record.metrics(1, {"x": value})
    (entry,) = read(tmp_path)
    assert repr(values_of(entry)["x"]) == repr(float(value))


def test_text_of_any_kind_comes_back(tmp_path):
    text = 'Ärger \ud800 \0 \r\n \u2028 "quoted" \', "crc": "00000000"}'
    with Record(tmp_path) as record:
        record.append("finished", reason=text, best={"loss": math.nan})
    (entry,) = read(tmp_path)
    assert (entry.fields["reason"], entry.fields["best"]) == (text, {"loss": "nan"})


def test_no_password_reaches_the_file(tmp_path):
    with Record(tmp_path) as record:
        record.append("started", params={"storage": "postgresql://me:c4n4ry@h/db"})
        record.append("finished", traceback="OperationalError: mysql://me:c4n4ry@h/db is down")
    assert "c4n4ry" not in (tmp_path / layout.RECORD).read_text()


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(b"{", id="first byte"),
        pytest.param(b'{"n": 3, "time": 17638', id="half a line"),
        pytest.param(
            b'{"n": 3, "time": 1, "event": "metrics", "crc": "00000000"}', id="no newline"
        ),
        pytest.param(b"\0" * 300, id="blocks never written"),
        pytest.param(b"\0" * 300 + b'"crc": "9a1b02cd"}\n', id="only the last block written"),
    ],
)
def test_a_torn_tail_waits_for_readers_and_is_repaired_by_the_next_writer(tmp_path, tail):
    write(tmp_path, 1, 2)
    path = tmp_path / layout.RECORD
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    reader = RecordReader(tmp_path)
    assert [entry.number for entry in reader.new_entries()] == [0, 1, 2]
    assert path.read_bytes() == whole + tail
    with Record(tmp_path) as record:
        assert path.read_bytes() == whole
        record.metrics(3, {"train/loss": 0.3})
    assert [entry.number for entry in reader.new_entries()] == [3]


def test_every_cut_leaves_the_whole_lines(tmp_path):
    write(tmp_path, 1, 2)
    path = tmp_path / layout.RECORD
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert len(read(tmp_path)) == whole[:length].count(b"\n")


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_changed_line_is_named(tmp_path, number):
    write(tmp_path, 1, 2, 4)
    path = tmp_path / layout.RECORD
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b'"time": 1', b'"time": 2')
    path.write_bytes(b"".join(lines))
    words = rf"{path}, line {number + 1}: changed after it was written"
    with pytest.raises(RecordError, match=words):
        read(tmp_path)
    with pytest.raises(RecordError, match=words):
        Record(tmp_path)


def test_a_missing_line_is_named(tmp_path):
    write(tmp_path, 1, 2, 4)
    path = tmp_path / layout.RECORD
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(RecordError, match="line 3: lines are missing before it"):
        read(tmp_path)


def test_lines_lost_at_the_end_are_noticed_by_who_has_read_them(tmp_path):
    write(tmp_path, 1, 2)
    reader = RecordReader(tmp_path)
    reader.new_entries()
    path = tmp_path / layout.RECORD
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(RecordError, match="lines are missing at its end"):
        reader.new_entries()


def test_no_record_is_said_in_one_line(tmp_path):
    with pytest.raises(RecordError, match=r"no record\.jsonl here; a run folder has one"):
        read(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RecordError, match="cannot be written"):
        Record(tmp_path / "run")


def test_no_end_is_written_where_nothing_is_open(tmp_path):
    assert not write_end(tmp_path)
    with Record(tmp_path) as record:
        record.append("started", name="run")
        record.append("finished", outcome="complete")
    assert not write_end(tmp_path)
    assert len(read(tmp_path)) == 2


@pytest.mark.parametrize(
    ("attempts", "advanced"),
    [
        pytest.param([[]], False, id="the first one has begun"),
        pytest.param([[1]], True, id="the first one has measured"),
        pytest.param([[1, 2], []], False, id="ends before its first step"),
        pytest.param([[1, 2], [3]], True, id="continues from a checkpoint"),
        pytest.param([[1, 2], ["again", 1, 2]], False, id="measures the same steps otherwise"),
        pytest.param([[1, 2], ["again", 1, 2, 3]], True, id="measures otherwise and goes beyond"),
        pytest.param([[1, 2, 3], ["again", 1], [2]], False, id="behind the longest of them"),
    ],
)
def test_an_attempt_advances_by_a_step_beyond_those_of_all_before_it(tmp_path, attempts, advanced):
    with Record(tmp_path) as record:
        for attempt in attempts:
            record.append("started", name="run")
            for step in attempt:
                if step == "again":
                    record.append("rewound", step=1)
                else:
                    record.metrics(step, {"x": 0.0})
    assert has_advanced(read(tmp_path)) is advanced


def test_an_entry_is_one_write_and_one_order_to_the_disk(tmp_path, monkeypatch):
    """Training waits for no more: less than a millisecond on a disk that is quick."""
    calls: list[str] = []
    for name in ("pwrite", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, n=name, r=real: calls.append(n) or r(*args))
    values = {f"eval/exact_match/{pattern}": 0.5 for pattern in range(20)}
    with Record(tmp_path) as record:
        record.append("started")
        calls.clear()
        for step in range(50):
            record.metrics(step, values)
    assert calls == ["pwrite", "fsync"] * 50


def told(*events: tuple[int, str], seconds: float | None = None) -> list[Entry]:
    """Entries at these seconds; the last one says what all took, if that is known."""
    entries = [Entry(0, 1000 * when, event, {}) for when, event in events]
    return [*entries[:-1], entries[-1]._replace(fields={"seconds": seconds} if seconds else {})]


BEGUN, ENDED = (10, "started"), (19, "finished")


@pytest.mark.parametrize(
    ("entries", "seconds"),
    [
        pytest.param(told(BEGUN, ENDED, seconds=8.5), 8.5, id="whole"),
        pytest.param(told(BEGUN, (13, "metrics")), 3, id="runs"),
        pytest.param(told(BEGUN, (13, "metrics"), (99, "finished")), 3, id="died, found later"),
        pytest.param(
            [*told(BEGUN, ENDED, seconds=8.5), *told((30, "started"), (32, "metrics"))],
            10.5,
            id="stopped, and runs again",
        ),
        pytest.param(
            told(BEGUN, (13, "metrics"), (50, "started"), (54, "metrics")), 7, id="died, runs again"
        ),
        pytest.param(
            [*told(BEGUN, ENDED, seconds=8.5), *told((30, "started"), ENDED, seconds=11.0)],
            11.0,
            id="the last end tells of all",
        ),
    ],
)
def test_the_time_of_a_run_is_that_of_all_its_attempts(entries, seconds):
    assert seconds_worked(entries) == seconds


@pytest.mark.parametrize(
    ("call", "num_lost"),
    [
        pytest.param("fsync", 0, id="when a reader has seen the line"),
        pytest.param("pwrite", 1, id="in the middle of the line"),
    ],
)
def test_ctrl_c_within_an_entry_damages_nothing(tmp_path, monkeypatch, call, num_lost):
    """What asks the run to stop may have been that its line has appeared."""
    write = os.pwrite

    def interrupted(file: int, data: bytes = b"", offset: int = 0) -> None:
        if data:
            write(file, data[: len(data) // 2], offset)
        raise KeyboardInterrupt

    with Record(tmp_path) as record:
        record.append("started", name="run")
        reader = RecordReader(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(os, call, interrupted)
            with pytest.raises(KeyboardInterrupt):
                record.metrics(1, {"train/loss": 1.0})
        seen = len(reader.new_entries())
        record.append("finished", outcome="interrupted", reason="stopped by Ctrl-C")
    assert seen == 2 - num_lost
    assert [entry.event for entry in reader.new_entries()] == ["finished"]
    assert len(read(tmp_path)) == 3 - num_lost
