"""Canary of the internal name of pebble that compat/pebble.py uses."""

import multiprocessing
import os

from pebble import ProcessPool

from hrm_sweep.compat import pebble as compat


def test_worker_processes_are_those_of_the_pool():
    context = multiprocessing.get_context("fork")  # a spawned child would import pytest
    with ProcessPool(max_workers=1, context=context) as pool:
        worker = pool.schedule(os.getpid).result()
        other = context.Process(target=os.getpid)
        other.start()
        assert [process.pid for process in compat.worker_processes()] == [worker]
        other.join()
