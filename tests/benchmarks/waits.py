"""Imported by a worker before its first job: notes when each job of it began and ended, in seconds,
in a file of the worker's own."""

import os
import time
from pathlib import Path

from hrm_sweep.launch import pool

_run_job = pool._run
_notes = Path(f"{os.getpid()}.jobs")


def run_and_note(overrides: list[str], job_idx: int) -> bytes:
    begin = time.monotonic()
    try:
        return _run_job(overrides, job_idx)
    finally:
        with _notes.open("a") as file:
            file.write(f"{begin} {time.monotonic()}\n")


pool._run = run_and_note
