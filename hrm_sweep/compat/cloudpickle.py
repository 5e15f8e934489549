"""How cloudpickle 3 sends code by value, which is that of functions defined in `__main__`.

tests/unit/compat/test_cloudpickle_canary.py holds each function to what is read here.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from types import CodeType
from typing import Any

import cloudpickle


def dumps(value: Any) -> bytes:
    """Return a value pickled as cloudpickle does, with the files that its code was read from.

    From 3.1 on cloudpickle leaves them out, and a traceback then shows no line of that code.
    """
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    make, parts = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return _code_of_file, (make, parts, code.co_filename)


def _code_of_file(make: Callable[..., CodeType], parts: tuple[Any, ...], name: str) -> CodeType:
    return make(*parts).replace(co_filename=name)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table = cloudpickle.Pickler.dispatch_table.new_child({CodeType: _reduce_code})
