"""Tables and curves as text: pleasant on a terminal, plain in a pipe."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

WIDE = 1000
"""Columns of a pipe: a table takes what it needs."""
BARS = "▁▂▃▄▅▆▇█"


def console() -> Console:
    """Writes to the screen, in colours only on a terminal; lines of a pipe are not broken."""
    screen = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    if not screen.is_terminal:
        screen.width = WIDE
    return screen


def plain_table(*names: str, right: Sequence[str] = ()) -> Table:
    """A table without lines; columns named in `right` are for numbers. On a narrow terminal the
    last column is broken into lines."""
    table = Table(box=None, pad_edge=True, header_style="bold")
    for name in names:
        table.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name != names[-1],
            overflow="fold",
        )
    return table


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Lines of a name and what is to be said of it, below each other."""
    width = max(len(name) for name, _ in pairs)
    return "\n".join(f"  {name:<{width}}  {told}".rstrip() for name, told in pairs)


def curve(values: Sequence[float], *, width: int = 40) -> str:
    """A curve in one line; values that are not finite are gaps. More values than `width` are
    thinned, the last one stays."""
    if len(values) > width:
        values = [values[round(n * (len(values) - 1) / (width - 1))] for n in range(width)]
    finite = [value for value in values if math.isfinite(value)]
    low, span = min(finite, default=0.0), max(finite, default=0.0) - min(finite, default=0.0)

    def bar(value: float) -> str:
        if not math.isfinite(value):
            return " "
        return BARS[round((value - low) / span * (len(BARS) - 1))] if span else BARS[0]

    return "".join(map(bar, values))
