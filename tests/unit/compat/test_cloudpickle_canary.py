"""Canary of how cloudpickle sends code, which compat/cloudpickle.py extends."""

import pickle
import traceback

import pytest

from hrm_sweep.compat import cloudpickle as compat


def raising():
    def inner():
        raise ValueError("here")

    return inner


def test_code_that_is_sent_by_value_keeps_its_file_and_lines():
    sent = raising()  # a nested function is sent by value
    received = pickle.loads(compat.dumps([sent]))[0]
    assert received.__code__ is not sent.__code__
    with pytest.raises(ValueError, match="here") as raised:
        received()
    last = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert (last.filename, last.line) == (__file__, 'raise ValueError("here")')
