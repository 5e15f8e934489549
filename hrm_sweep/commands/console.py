"""Tables and curves as text, for a terminal or a pipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.table import Table

from hrm_sweep.terminal.consoles import PrintableConsole
from hrm_sweep.terminal.tables import cut_end, cut_middle

LEAST, MOST = 12, 60
"""Columns of the terminal that a value beside others has at least, and at most."""
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


def print_beside(title: str, rows: Mapping[str, Mapping[str, str]], names: Sequence[str]) -> None:
    """Print values by key and name, in several tables where not all names fit beside each other.

    Long keys are cut in their middle, and long values so that their first difference is seen.
    """
    console = PrintableConsole()
    keys = {key: cut_middle(key, max(LEAST, console.width // 3)) for key in rows}
    space = console.width - max(map(cell_len, keys.values())) - 2
    at_once = max(1, min(len(names), space // (LEAST + 2)))
    width = min(MOST, space // at_once - 2)
    cut = {key: _cut(values, width) for key, values in rows.items()}
    for first in range(0, len(names), at_once):
        shown = names[first : first + at_once]
        print(f"\n  {title}:" if first == 0 else "")
        table = plain_table("", *(cut_middle(name, width) for name in shown))
        for key, values in cut.items():
            table.add_row(keys[key], *(values.get(name, "-") for name in shown))
        console.print(table)


def _cut(values: Mapping[str, str], width: int) -> dict[str, str]:
    """Return texts cut to a width, from shortly before their first difference on."""
    letters = enumerate(zip(*values.values(), strict=False))
    begin = next((number for number, each in letters if len(set(each)) > 1), 0)
    is_late = begin > width // 2 and max(map(cell_len, values.values())) > width
    kept = begin - width // 4
    return {
        name: cut_end(f"…{text[kept:]}" if is_late else text, width)
        for name, text in values.items()
    }
