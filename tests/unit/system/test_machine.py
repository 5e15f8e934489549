"""What is a fault of the machine, and what is one of a program."""

import errno
import os

import pytest

from hrm_sweep.errors import RecordError
from hrm_sweep.system.machine import fault_of

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
