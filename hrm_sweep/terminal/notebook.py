"""Output in a cell of a notebook: one that is replaced, and figures."""

from __future__ import annotations

import io
import sys
from typing import Any

from rich.console import Console, RenderableType

WIDTH = 100
"""Columns of text that a cell shows without breaking lines."""


def kernel() -> Any:
    """Return IPython's shell if this process is the kernel of a notebook, else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if hasattr(shell, "kernel") else None


class NotebookLive:
    """An output of a cell that is replaced by the next; `rich.live.Live` needs ipywidgets."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._handle: Any = None

    def start(self) -> None:
        """Begin an output."""
        from IPython import display

        show: Any = display.display
        self._handle = show({"text/plain": ""}, raw=True, display_id=True)

    def update(self, renderable: RenderableType, *, refresh: bool = True) -> None:  # noqa: ARG002
        """Show something in its place."""
        with self._console.capture() as captured:
            self._console.print(renderable)
        self._handle.update({"text/plain": captured.get()}, raw=True)

    def stop(self) -> None:
        """Leave nothing in its place."""
        self._handle.update({"text/plain": ""}, raw=True)


def show_figures() -> None:
    """Let a notebook show Matplotlib's figures, also those that pyplot does not know."""
    if (shell := kernel()) is not None:
        from matplotlib.figure import Figure

        shell.display_formatter.formatters["image/png"].for_type(Figure, _png)


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=80, facecolor="white")
    return file.getvalue()
