"""Tables and lines as wide as the terminal and no wider."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

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
