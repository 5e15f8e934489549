"""What is a fault of the machine, and what is one of a program."""

import errno
import os

import pytest

from hrm_sweep.errors import RecordError
from hrm_sweep.system.machine import describe, fault_of, full_disk

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def wrapped() -> Exception:
    try:
        try:
            raise FULL
        except OSError as error:
            raise RecordError("record.jsonl: cannot be written") from error
    except RecordError as error:
        return error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        pytest.param(FULL, "No space left on device", id="full"),
        pytest.param(OSError(errno.EIO, "x"), "Input/output error", id="broken"),
        pytest.param(OSError(errno.EROFS, "x"), "Read-only file system", id="read-only"),
        pytest.param(OSError(errno.EDQUOT, "x"), "Disk quota exceeded", id="quota"),
        pytest.param(OSError(errno.ESTALE, "x"), "Stale file handle", id="stale"),
        pytest.param(wrapped(), "No space left on device", id="wrapped"),
        pytest.param(
            RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0"),
            "PytorchStreamWriter failed writing",
            id="torch.save",
        ),
        pytest.param(
            RuntimeError("(sqlite3.OperationalError) database or disk is full"),
            "database or disk is full",
            id="SQLite",
        ),
        pytest.param(FileNotFoundError(errno.ENOENT, "data.csv"), "", id="no such file"),
        pytest.param(PermissionError(errno.EACCES, "data.csv"), "", id="not allowed"),
        pytest.param(OSError(errno.EMFILE, "x"), "", id="too many open files"),
        pytest.param(MemoryError(), "", id="too large"),
        pytest.param(ValueError("no"), "", id="its own"),
        pytest.param(None, "", id="none"),
    ],
)
def test_a_fault_of_the_machine_is_known(error, fault):
    assert fault_of(error) == fault


def test_the_disk_that_is_full_is_named(small_disk, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inner = small_disk / "a" / "b.db"
    (small_disk / "filler").write_bytes(bytes(900_000))
    assert full_disk(tmp_path / "none", None) == ""
    assert full_disk(None, tmp_path, inner) == f": the disk of {small_disk} is full"
    assert describe(FULL) == "No space left on device"
    assert describe(FULL, inner) == f"No space left on device: the disk of {small_disk} is full"
    with_name = OSError(errno.ENOSPC, "x", str(inner))
    assert describe(with_name).endswith(f": the disk of {small_disk} is full")
    assert describe(ValueError("x"), inner) == ""


def hidden() -> Exception:
    try:
        try:
            raise RuntimeError("database or disk is full")
        finally:
            raise ValueError("no such savepoint: sa_1")
    except ValueError as error:
        return error


def test_a_first_error_counts_where_another_one_hides_it():
    assert describe(hidden()) == "database or disk is full"
