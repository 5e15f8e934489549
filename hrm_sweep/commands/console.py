"""Tables and curves as text, for a terminal or a pipe."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table

BARS = "▁▂▃▄▅▆▇█"


def plain_table(*names: str, right: Sequence[str] = ()) -> Table:
    """Return a table without borders, whose last column wraps on a narrow terminal.

    Args:
        names: of the columns.
        right: columns to align to the right, such as numbers.
    """
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
    """Return a line for each name and value, with the values aligned."""
    width = max(len(name) for name, _ in pairs)
    return "\n".join(f"  {name:<{width}}  {value}".rstrip() for name, value in pairs)


def curve(values: Sequence[float], *, width: int = 40) -> str:
    """Return a curve in one line, with gaps for values that are not finite.

    Args:
        values: in their order; more than `width` are thinned evenly, keeping the first and last.
        width: most characters of the line.
    """
    if len(values) > width:
        values = [values[round(n * (len(values) - 1) / (width - 1))] for n in range(width)]
    finite = [value for value in values if math.isfinite(value)]
    low, span = min(finite, default=0.0), max(finite, default=0.0) - min(finite, default=0.0)

    def bar(value: float) -> str:
        if not math.isfinite(value):
            return " "
        return BARS[round((value - low) / span * (len(BARS) - 1))] if span else BARS[0]

    return "".join(map(bar, values))
