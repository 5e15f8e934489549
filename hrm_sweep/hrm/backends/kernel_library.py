"""The library that kernels/ is compiled to, with its functions declared; without PyTorch."""

from __future__ import annotations

import ctypes
import functools

from hrm_sweep.errors import InputError
from hrm_sweep.hrm.backends import toolchain

SIZES = (
    *("bytes_of_weights", "bytes_saved", "bytes_of_swiglu_weights", "bytes_saved_by_swiglu"),
    "bytes_saved_by_readout",
)
"""Functions that take a shape and return a number of bytes."""
_POINTER, _INTEGER, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
CALLS = {
    "pack_weights": [_POINTER] * 6,
    "block_forward": [_POINTER] * 6,
    "block_backward": [_POINTER] * 11,
    "recursion_forward": [*[_POINTER] * 3, _INTEGER, _POINTER, *[_INTEGER] * 4, *[_POINTER] * 3],
    "pack_swiglu": [_POINTER] * 4,
    "swiglu_forward": [_POINTER] * 5,
    "swiglu_backward": [_POINTER] * 9,
    "embedding_forward": [_POINTER] * 5 + [_INTEGER] * 7 + [_REAL],
    "embedding_backward": [_POINTER] * 5 + [_INTEGER] * 8 + [_REAL],
    "readout_forward": [_POINTER] * 9,
    "readout_backward": [_POINTER] * 13,
    "vector_norm": [_POINTER, _INTEGER, _INTEGER, _POINTER],
    "adam_update": [_POINTER] * 5 + [_INTEGER] * 4 + [_REAL] * 8,
}
"""Functions that return a status -> types of their arguments."""


class _Sizes(ctypes.Structure):
    """Sizes of a call, declared once more in the source; `load` compares the two."""

    @classmethod
    def layout(cls) -> str:
        """Return each field's name, offset and size and the size of all, as the library does."""
        fields = [name for name, _ in cls._fields_]  # type: ignore[misc]
        places = [(name, getattr(cls, name)) for name in fields]
        text = "".join(f"{name} {place.offset} {place.size}, " for name, place in places)
        return f"{text}{ctypes.sizeof(cls)}"


class Shape(_Sizes):
    """Of a block, as in kernels/shape.h."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("batch", "tokens", "hidden", "heads", "width", "queries", "bf16", "threads")
    ]


class ReadoutShape(_Sizes):
    """Of a readout, as in kernels/readout.h."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("batch", "tokens", "prefix", "hidden", "vocabulary", "stablemax", "threads")
    ]


@functools.cache
def load() -> ctypes.CDLL:
    """Return the library for this CPU, compiled if need be.

    Its functions raise MemoryError where they cannot allocate what they need.

    Raises:
        InputError: It cannot be compiled or loaded, or is not the library of this module.
    """
    library = toolchain.library(toolchain.KERNELS)
    try:
        check_layout(library)
        for name in SIZES:
            function = getattr(library, name)
            function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_int64
        for name, arguments in CALLS.items():
            function = getattr(library, name)
            function.argtypes = arguments
            function.restype, function.errcheck = ctypes.c_int, _raise_failure
    except AttributeError as error:
        raise _not_ours(f"has no such function: {error}") from None
    return library


def check_layout(library: ctypes.CDLL) -> None:
    """Compare the library's sizes of calls with those of this module.

    Raises:
        InputError: They differ, so the library would misread every call.
    """
    for name, sizes in (("shape_layout", Shape), ("readout_layout", ReadoutShape)):
        function = getattr(library, name)
        function.restype = ctypes.c_char_p
        found = function().decode()
        if found != sizes.layout():
            raise _not_ours(f"takes sizes as [{found}] instead of [{sizes.layout()}]")


def _not_ours(reason: str) -> InputError:
    return InputError(
        f"{toolchain.path(toolchain.KERNELS)}: the compiled library {reason}; delete it to have it "
        "compiled anew, or set trainer.compile=off"
    )


def _raise_failure(status: int, function: object, _arguments: object) -> int:
    """Check what a function of the library returned, as ctypes' `errcheck`."""
    name = getattr(function, "__name__", "")
    if status == 1:
        raise MemoryError(f"{name}: not enough memory for the compiled kernel's intermediates")
    if status:
        raise RuntimeError(f"{name}: the compiled kernel failed with status {status}")
    return status
