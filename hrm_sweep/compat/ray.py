"""What we need of Ray's private names, as they are in Ray 2.60.

tests/unit/compat/test_ray_canary.py holds each of them to what is read here.
"""

from __future__ import annotations

from ray._private import worker


def print_nothing() -> None:
    """Keep Ray from printing what happens on its nodes between the lines of the sweep.

    A node that dies is twenty lines of its daemon's log, on standard output, whatever is set.
    """
    worker._worker_logs_enabled = False
