"""Canary of how cloudpickle sends code, which compat/cloudpickle.py extends."""

import pickle
import traceback
from types import FunctionType
from typing import Any

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


def making_a_class():
    class Point:
        x: Any = traceback.__name__

        class Inner:
            y = pytest.__name__

    return Point


def test_a_class_in_a_function_finds_the_globals_that_its_body_reads():
    sent = FunctionType(making_a_class.__code__, globals(), "__main__.making_a_class")
    sent.__module__ = "__main__"
    point = pickle.loads(compat.dumps(sent))()
    assert (point.x, point.Inner.y) == ("traceback", "pytest")
