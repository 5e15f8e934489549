"""Names of `multiprocessing.spawn` without documentation, read in Python 3.11 to 3.13.

tests/unit/compat/test_spawn_canary.py holds each function to what is read here.
"""

from __future__ import annotations

import os
from multiprocessing import spawn
from pathlib import Path
from typing import Any

from hrm_sweep.system import call


def interpreter() -> list[str]:
    """Return the command of this interpreter, with the options it was started with."""
    return [os.fsdecode(part) for part in spawn.get_command_line()[:-3]]  # without its program


def preparation() -> dict[str, Any]:
    """Return what another process needs to import as this one does.

    Also the main module, if it has a file: of `python - < app.py` and of a notebook's cell, what is
    in it is pickled by value. A program that calls a sweep has no task in it.
    """
    data = spawn.get_preparation_data("worker")
    if call.current() or not Path(data.get("init_main_from_path", "")).is_file():
        data.pop("init_main_from_path", None)
    if call.current():
        data.pop("init_main_from_name", None)
    return data | {"authkey": bytes(data["authkey"])}  # as it is, it refuses to be pickled


def prepare(preparation: dict[str, Any]) -> None:
    """Make this process import as the one that the preparation comes from.

    The main module is imported as `__mp_main__`, so that what stands under
    `if __name__ == "__main__":` is left out.
    """
    spawn.prepare(preparation)
