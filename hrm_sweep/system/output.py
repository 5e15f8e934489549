"""Standard output of a process that has more to do than to print."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class Output:
    """Text stream that escapes what its encoding lacks, and is silent once it cannot be written.

    A pipe whose reader has left, a terminal that was closed and a file on a full disk end nothing
    but what is shown.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, or what the encoding can say of it."""
        encoding = self._stream.encoding or "utf-8"
        with self._silent_if_lost():
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        with self._silent_if_lost():
            self._stream.flush()

    @contextmanager
    def _silent_if_lost(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            silence(self._stream)


def silence(stream: TextIO) -> None:
    """Discard further output of a stream, and what it has not written yet."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def escape_characters() -> None:
    """Let standard output escape the characters that its encoding lacks, for good."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def tolerated() -> Iterator[None]:
    """Let nothing that happens to standard output end the block."""
    if sys.stdout is None:
        yield
        return
    output: Any = Output(sys.stdout)
    with contextlib.redirect_stdout(output):
        try:
            yield
        finally:
            output.flush()
