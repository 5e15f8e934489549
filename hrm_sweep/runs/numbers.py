"""Numbers of whatever library, as Python's own."""

from __future__ import annotations

from contextlib import suppress
from typing import Any


def as_number(value: Any) -> float | None:
    """Return a number, also of NumPy or PyTorch, or a 0-d array; None for anything else."""
    if not hasattr(value, "__float__"):  # text has none, though float() would read it
        return None
    with suppress(TypeError, ValueError, RuntimeError, OverflowError):  # such as arrays of several
        return float(value)
    return None
