"""How cloudpickle 3 sends code by value, which is that of functions defined in `__main__`.

tests/unit/compat/test_cloudpickle_canary.py holds each function to what is read here.
"""

from __future__ import annotations

import dis
import io
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import cloudpickle


def dumps(value: Any) -> bytes:
    """Return a value pickled as cloudpickle does, with what cloudpickle leaves out.

    That is the files that code was read from (from 3.1 on; a traceback then shows no line of it),
    and globals that only the body of a class inside a function reads.
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

    def reducer_override(self, obj: Any) -> Any:
        """Add the globals that only the body of a class in a function reads: they are left out."""
        reduced = super().reducer_override(obj)
        if isinstance(obj, FunctionType) and isinstance(reduced, tuple):
            kept = reduced[2][1]["__globals__"]
            names = set(_names_in_class_bodies(obj.__code__)) & obj.__globals__.keys()
            kept.update({name: obj.__globals__[name] for name in names})
        return reduced


def _names_in_class_bodies(code: CodeType) -> Iterator[str]:
    for inner in (each for each in code.co_consts if isinstance(each, CodeType)):
        for instruction in dis.get_instructions(inner):
            if instruction.opname in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
                yield instruction.argval
        yield from _names_in_class_bodies(inner)
