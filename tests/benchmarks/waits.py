"""Imported by a worker before its first job: notes when each job of it began and ended, in seconds,
in a file of the worker's own."""

import os
import time
from pathlib import Path
from typing import Any

from hrm_sweep.launch.worker import Runner

_run_job: Any = Runner.__call__
_notes = Path(f"{os.getpid()}.jobs")


def run_and_note(runner: Runner, job: Any, job_idx: int) -> bytes:
    begin = time.monotonic()
    try:
        result: bytes = _run_job(runner, job, job_idx)
        return result
    finally:
        with _notes.open("a") as file:
            file.write(f"{begin} {time.monotonic()}\n")


Runner.__call__ = run_and_note  # type: ignore[method-assign]
