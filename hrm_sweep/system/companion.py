"""A program that ends with the process that needs it, however that ends.

It is started as `python -m hrm_sweep.system.companion PROGRAM ARGUMENT...` in a process group of
its own, with a pipe as input: the end of the input, which also comes of its parent's death, ends
the whole group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import IO, Any

SECONDS_TO_END = 5.0
"""Between the request to end and the kill."""


def start(words: list[str], *, said: IO[bytes], **environment: str) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process.

    Args:
        words: of its command.
        said: file for all that it prints.
        environment: variables beside those of this process.
    """
    return subprocess.Popen(
        [sys.executable, "-m", __name__, *words],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=said,
        stderr=said,
        start_new_session=True,
    )


def end(process: subprocess.Popen[Any]) -> None:
    """End a program that was started here, and wait for it."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
    with contextlib.suppress(ProcessLookupError):  # its group is empty
        os.killpg(process.pid, signal.SIGKILL)


def main() -> None:
    """Run the program, and exit with its code; end its group when the input ends."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # it comes for the group, and the rest follows
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    is_ending = threading.Event()

    def end_with_input() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        is_ending.set()
        os.killpg(0, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(SECONDS_TO_END)
        os.killpg(0, signal.SIGKILL)

    watch = threading.Thread(target=end_with_input, daemon=True)
    watch.start()
    code = program.wait()
    if is_ending.is_set():
        watch.join()
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
