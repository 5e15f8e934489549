"""Pictures of a run folder, drawn by a function that the app hands in."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from hrm_sweep.runs import layout
from hrm_sweep.system import files
from hrm_sweep.system.redact import redacted

FAILURES = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What drawing may raise for a file that is not what it should be."""

Draw = Callable[[Path], list[str]]
"""Draws the pictures of a run folder and returns their names."""


def draw_function(path: str | None) -> Draw:
    """Return the function at a dotted path; None draws nothing.

    Its failures are written to the log of the run folder, and the run has no pictures then.
    """

    def draw(folder: Path) -> list[str]:
        if path is None:
            return []
        module, _, name = path.rpartition(".")
        try:
            return list(getattr(import_module(module), name)(folder))
        except (ImportError, AttributeError, *FAILURES):
            log(folder, traceback.format_exc())
            return []

    return draw


class BackgroundDrawing:
    """Draws in a thread, one run folder at a time, while the caller does other things."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._drawing: dict[Path, Future[list[str]]] = {}

    def __call__(self, folder: Path) -> list[str] | None:
        """Return the names of the pictures in a folder, or None while they are being drawn."""
        if folder not in self._drawing:
            self._drawing[folder] = self._pool.submit(self._draw, folder)
        if not self._drawing[folder].done():
            return None
        return self._drawing.pop(folder).result()


def log(folder: Path, text: str) -> None:
    """Append to the log of a folder what went wrong beside its runs."""
    with (
        contextlib.suppress(OSError),
        files.append(folder / layout.EXPORTER_LOG) as file,
    ):
        file.write(redacted(text).encode())
