"""The console on which everything with colours or columns is shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from hrm_sweep.system.output import printable
from hrm_sweep.terminal import notebook

WIDE = 1000
"""Columns where output is not a terminal: enough for every table."""


class PrintableConsole(Console):
    """Console on standard output that prints text as it is, its control characters escaped.

    Colours and line breaks are for terminals only; the cell of a notebook has a width, too.
    """

    def __init__(self) -> None:
        is_notebook = notebook.kernel() is not None
        super().__init__(
            highlight=False,
            soft_wrap=True,
            markup=False,
            emoji=False,
            force_jupyter=False,
            force_terminal=False if is_notebook else None,  # its output says that it is one
        )
        if not self.is_terminal:
            self.width = notebook.WIDTH if is_notebook else WIDE

    @property
    def file(self) -> IO[str]:
        """The stream behind those that escape: what a console writes is printable already.

        A live table puts one more around them, and rich looks through one alone.
        """
        file = super().file
        while (inner := getattr(file, "rich_proxied_file", None)) is not None:
            file = inner
        return file

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as text: a table measures its cells by it."""
        return super().render_str(printable(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Return the segments of a renderable, in which only rich's own controls are."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text), style)
