"""Standard output of a process that has more to do than to print."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Characters that move the cursor, command the terminal, or change the order of those around."""


def printable(text: str) -> str:
    """Return a text with its control characters escaped, but for tabs and the ends of lines.

    Names, reasons and logs may come from other users, and what they print should be seen.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def show(text: str) -> None:
    """Print a text, also in the process of another app, whose own output is its affair."""
    print(printable(text))


class Printable:
    """Text stream that escapes the control characters in what is printed.

    Rich takes the stream behind it: what it writes is made printable by `terminal.consoles`, and
    its colours are its own.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)

    def write(self, text: str) -> int:
        """Write a text; return its length."""
        self.rich_proxied_file.write(printable(text))
        return len(text)


@contextmanager
def printable_streams() -> Iterator[None]:
    """Escape control characters in what is printed in the block, on either stream."""
    out: Any = sys.stdout and Printable(sys.stdout)
    err: Any = sys.stderr and Printable(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield


class Output:
    """Text stream that escapes what its encoding lacks, and is silent once it cannot be written.

    A pipe whose reader has left, a terminal that was closed and a file on a full disk end nothing
    but what is shown.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        if name == "rich_proxied_file":
            return Output(self._stream.rich_proxied_file)  # type: ignore[attr-defined]
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


@contextmanager
def to_standard_error() -> Iterator[None]:
    """Let what is printed in the block, by programs that it starts too, go to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


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
