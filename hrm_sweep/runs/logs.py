"""The logs in a run's folder, with the secrets in them masked.

Programs print into a log by its file descriptor, so secrets can be masked only afterwards: in the
file when the run has ended, and in what is sent elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hrm_sweep.system import files
from hrm_sweep.system.redact import redacted_lines


@contextmanager
def masked_logs(folder: Path) -> Iterator[None]:
    """Mask the secrets in the logs of a folder when the block ends, and those it begins with.

    Raises:
        InputError: a log is a symbolic link, through which would be written.
    """
    for path in folder.glob("*.log"):
        files.check_no_link(path)
    mask_logs(folder)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        mask_logs(folder)


def mask_logs(folder: Path) -> None:
    """Mask the secrets in the logs of a folder, to which nothing is written meanwhile."""
    for path in folder.glob("*.log"):
        with contextlib.suppress(OSError):  # a log is for reading, and no run fails for it
            _mask(path)


@contextmanager
def masked_copy(path: Path) -> Iterator[Path]:
    """Yield a file of the same name in which no secrets are: a copy, or the file itself."""
    text = _read(path.read_bytes())
    if (masked := redacted_lines(text)) == text:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        copy.write_bytes(_written(masked))
        yield copy


def _mask(path: Path) -> None:
    """Mask in place: whoever appends to a log keeps its file."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW), "r+b") as file:
        text = _read(file.read())
        if (masked := redacted_lines(text)) != text:
            file.seek(0)
            file.write(_written(masked))
            file.truncate()


def _read(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _written(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
