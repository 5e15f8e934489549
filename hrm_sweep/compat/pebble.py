"""Private names of pebble, read in 5.2.3.

tests/process/test_pebble_canary.py holds each function to what is read here.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.process import BaseProcess

from pebble.pool.process import WORKERS_NAME


def worker_processes() -> list[BaseProcess]:
    """Return the worker processes of all pools of this process."""
    children = multiprocessing.active_children()
    return [child for child in children if child.name == WORKERS_NAME]
