"""A record whose writer is another process: killed, out of disk space, or still at work."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hrm_sweep.errors import RecordError
from hrm_sweep.runs.record import (
    Record,
    RecordReader,
    is_open,
    read,
    values_of,
    write_end,
)

SOMEBODY_ELSE = """
import os, sys, time
from pathlib import Path
from hrm_sweep.runs.record import Record
record = Record(Path(sys.argv[1]))
record.append("started", name="run", artifacts=["config.yaml"])
"""


def somebody_else(folder: Path, then: str) -> subprocess.Popen[str]:
    """A process that writes the record of `folder`; its first line of output says it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", SOMEBODY_ELSE + "print('go', flush=True)\n" + then, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    return process


def test_a_reader_follows_a_writing_process_and_never_sees_half_a_line(tmp_path):
    writer = somebody_else(
        tmp_path, "for step in range(1, 301): record.metrics(step, {'x' * 200: step})"
    )
    reader, seen = RecordReader(tmp_path), []
    while writer.poll() is None:
        seen += reader.new_entries()
    seen += reader.new_entries()
    assert [entry.number for entry in seen] == list(range(301))
    assert [values_of(entry)["x" * 200] for entry in seen[1:]] == list(range(1, 301))


def test_a_killed_writer_loses_nothing_it_had_acknowledged(tmp_path):
    for _ in range(5):
        writer = somebody_else(
            tmp_path,
            "for step in range(1, 10**6):\n"
            "    record.metrics(step, {'x' * 5000: step})\n"
            "    print(step, flush=True)",
        )
        assert writer.stdout is not None
        first = [writer.stdout.readline().strip() for _ in range(5)]
        writer.send_signal(signal.SIGKILL)
        acknowledged = first + writer.stdout.read().split()
        assert writer.wait() == -signal.SIGKILL
        steps = [entry.fields["step"] for entry in read(tmp_path) if entry.event == "metrics"]
        assert int(acknowledged[-1]) <= steps[-1]
    assert [entry.number for entry in read(tmp_path)] == list(range(len(read(tmp_path))))


def test_a_full_disk_is_said_and_leaves_a_record_that_continues(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            SOMEBODY_ELSE + "import resource, signal\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
            "try:\n"
            "    for step in range(1, 100): record.metrics(step, {'x' * 30: step})\n"
            "except Exception as error: print(step, type(error).__name__, error)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, resource.RLIM_INFINITY))\n"
            "record.metrics(step, {'after': 1.0})\n",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    step, name, words = done.stdout.split(maxsplit=2)
    assert name == "RecordError"
    assert (
        "record.jsonl: cannot be written (File too large); what was written before is safe" in words
    )
    *before, after = read(tmp_path)[1:]
    assert [entry.fields["step"] for entry in before] == list(range(1, int(step)))
    assert values_of(after) == {"after": 1.0}


def test_only_one_process_writes(tmp_path):
    writer = somebody_else(tmp_path, "time.sleep(60)")
    try:
        with pytest.raises(RecordError, match="another process is writing it"):
            Record(tmp_path)
        assert not write_end(tmp_path)
    finally:
        writer.kill()
        writer.wait()
    Record(tmp_path).close()


def test_a_run_whose_process_is_gone_gets_its_end_once(tmp_path):
    writer = somebody_else(tmp_path, "record.metrics(1, {'x': 1}); time.sleep(60)")
    writer.kill()
    writer.wait()
    assert is_open(read(tmp_path))
    assert write_end(tmp_path)
    assert not write_end(tmp_path)
    finished = read(tmp_path)[-1]
    assert finished.event == "finished"
    assert finished.fields["outcome"] == "killed"
    assert finished.fields["reason"].startswith("its process ended without a word")
    assert finished.fields["artifacts"] == [], "the file that was announced was never written"
