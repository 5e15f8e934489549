"""Command lines that were printed, found in the text and executed as a user would paste them."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from studies import PATIENCE_SECONDS

_STARTS = r"(?:cd \S+ && )?(?:python (?:-m \w+|\S+\.py)|hrm-sweep|mv)(?= |$)"
COMMAND = re.compile(rf"(?:^|\s)({_STARTS}[^\n]*)", re.M)
RUN_AGAIN = ("run_again=failed", "--failed")
SERVERS = ("ui", "dashboard")


def commands_in(text: str) -> list[str]:
    """Return the command lines in a text, each once; two spaces end one, as in --help."""
    found = (match.partition("  ")[0].strip().rstrip(".") for match in COMMAND.findall(text))
    return list(dict.fromkeys(found))


def paste(line: str, folder: Path) -> tuple[int, str]:
    """Execute a line in a shell at a terminal, where the user says yes to whatever is asked.

    A server is ended by Ctrl-C when it has named its page.

    Returns:
        Exit code and output; 0 for a server that answered.
    """
    mine, its = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=its,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    os.write(mine, b"y\n")
    try:
        if any(f"hrm_sweep {server}" in line for server in SERVERS):
            return _served(process)
        printed, _ = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, printed
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(its)
        os.close(mine)


_known: set[str] = set()


def paste_new(text: str, folder: Path) -> Iterator[str]:
    """Execute the command lines in a text whose like has not been met yet.

    Yields:
        A description of each that did not end with 0.
    """
    for line in commands_in(text):
        shape = re.sub(r"'[^']*'|\S*/\S*|[\w.]*\d[\w.-]*", "…", line)
        if shape not in _known and folder.is_dir():
            _known.add(shape)
            code, printed = paste(line, folder)
            may_fail_again = code == 1 and any(each in line for each in RUN_AGAIN)
            if code != 0 and not may_fail_again:
                yield f"{line}\n  exit code {code}: {printed[-600:]}"


def _served(process: subprocess.Popen[str]) -> tuple[int, str]:
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if "http://" in line:
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=PATIENCE_SECONDS)
            return 0, printed
    return process.wait(), printed
