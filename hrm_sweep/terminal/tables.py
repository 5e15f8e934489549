"""Tables and lines as wide as the terminal and no wider."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hrm_sweep.formatting import shorten_middle
from hrm_sweep.system.output import printable

MIN_PARAM_WIDTH = 16
"""Columns that a parameter's value or name keeps before a metric is dropped."""
ANY_WIDTH = 10_000


def fitting(
    console: Console,
    draw: Callable[[Sequence[str], int | None], Table],
    metrics: Iterable[str],
    objectives: Iterable[str],
) -> Table:
    """Return the widest table that fits the console.

    First long parameters are shortened, then metrics are dropped, the last one first; objectives
    stay.

    Args:
        draw: makes the table, from its metrics and the columns that a parameter may take.
    """
    shown, most, kept = list(metrics), None, set(objectives)
    while _width(console, table := draw(shown, most)) > console.width:
        spare = [name for name in shown if name not in kept]
        if most is None:
            most = MIN_PARAM_WIDTH
        elif spare:
            shown.remove(spare[-1])
        else:
            break  # only parameters are left to shorten, which the table does by itself
    return table


def table_of(before: Sequence[str], params: Sequence[str], after: Sequence[str]) -> Table:
    """Return a table without rows, whose parameter columns shrink first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in before:
        table.add_column(name, no_wrap=True)
    for name in params:
        table.add_column(_in_one_line(name), justify="right")
    for name in after:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def cells(params: Iterable[str], most: int | None) -> list[Text]:
    """Return parameters' values, each in one line of at most so many columns."""
    return [_in_one_line(shorten_middle(text, most)) for text in params]


def short_names(keys: Sequence[str]) -> list[str]:
    """Return the last word of each key (`L_cycles` of `model.L_cycles`) where it is unique."""
    last = [key.rpartition(".")[2] for key in keys]
    times = Counter(last)
    return [name if times[name] == 1 else key for name, key in zip(last, keys, strict=True)]


def folded(console: Console, line: str) -> str:
    """Return a line broken between words, its rest indented; in a pipe it stays whole."""
    if not console.is_terminal:
        return line
    return textwrap.fill(line, console.width, subsequent_indent="    ", break_on_hyphens=False)


def _in_one_line(text: str) -> Text:
    return Text(printable(text), no_wrap=True, overflow="ellipsis")


def _width(console: Console, table: Table) -> int:
    return console.measure(table, options=console.options.update(max_width=ANY_WIDTH)).maximum


def cut_to(
    width: int,
    columns: Mapping[str, Sequence[str]],
    shrinking: Sequence[tuple[str, int]],
    *,
    spare: Sequence[str] = (),
    middle: Container[str] = (),
) -> dict[str, list[str]]:
    """Return the columns of a table with long cells cut, so that it fits a width if that can be.

    Args:
        width: columns of the terminal; each of the table has a margin of one on both sides.
        columns: cells by the name of their column.
        shrinking: which columns give way, in this order, and what each keeps at least; a column
            may give way again later.
        spare: columns that are left out, in this order, where cutting is not enough.
        middle: columns whose texts are cut in their middle, the others at their end.
    """
    widest = {name: max(map(cell_len, (name, *cells))) for name, cells in columns.items()}
    least = dict(shrinking)
    for name in spare:
        smallest = sum(min(wide, least.get(each, wide)) for each, wide in widest.items())
        if smallest + 2 * len(widest) > width:
            widest.pop(name, None)
    for name, kept in shrinking:
        over = sum(widest.values()) + 2 * len(widest) - width
        if over > 0 and name in widest:
            widest[name] = max(min(kept, widest[name]), widest[name] - over)
    cut = {name: cut_middle if name in middle else cut_end for name in columns}
    return {
        name: [cut[name](cell, wide) for cell in columns[name]] for name, wide in widest.items()
    }


def cut_end(text: str, width: int) -> str:
    """Return a text of at most so many columns, with `…` for its end."""
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1).rstrip()}…"


def cut_middle(text: str, width: int) -> str:
    """Return a text of at most so many columns, with `…` for its middle."""
    if cell_len(text) <= width:
        return text
    half = width // 2
    end = next(text[-n:] for n in range(half, 0, -1) if cell_len(text[-n:]) <= half)
    return f"{set_cell_size(text, width - 1 - cell_len(end)).rstrip()}…{end}"
