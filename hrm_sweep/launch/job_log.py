"""The log of a job, `run.log`: the same file in the same folder under every launcher."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hrm_sweep.runs.handle import ending_of
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.tracebacks import format_task_error
from hrm_sweep.system import files

FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"
"""Hydra's own."""


@contextmanager
def job_log(path: Path) -> Iterator[None]:
    """Write what the block logs to a file, and the traceback if it fails.

    Nothing is logged twice: a worker's output, or a handler of the app, may go to that file anyway.

    Raises:
        InputError: the log is a symbolic link, through which would be written.
    """
    files.check_no_link(path)
    with files.append(path):  # it exists, whatever is logged
        handler = None if _is_written(path) else logging.FileHandler(path, encoding="utf-8")
    if handler is not None:
        handler.setFormatter(logging.Formatter(FORMAT))
        logging.getLogger().addHandler(handler)
    try:
        yield
    except Exception as error:
        if ending_of(error)[0] is Outcome.FAILED:
            sys.stdout.flush()
            with files.append(path) as log:
                log.write(format_task_error(error).encode("utf-8", "replace"))
        raise
    finally:
        if handler is not None:
            logging.getLogger().removeHandler(handler)
            handler.close()


def _is_written(path: Path) -> bool:
    """Return whether log messages reach a file already."""
    handlers = logging.getLogger().handlers
    if any(getattr(each, "baseFilename", "") == str(path.absolute()) for each in handlers):
        return True
    try:
        return os.path.samestat(os.fstat(1), path.stat())
    except OSError:  # standard output is closed
        return False
