"""Tables and lines of a study's trials, as wide as the terminal and no wider."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hrm_sweep.formatting import shorten_middle

MOST_OF_A_SETTING = 16
"""Columns that a setting's value or name keeps before a metric has to go."""
ANY_WIDTH = 10_000


def fitting(
    console: Console,
    draw: Callable[[Sequence[str], int | None], Table],
    metrics: Iterable[str],
    objectives: Iterable[str],
) -> Table:
    """The widest table that fits: first long settings are cut, then metrics go, from the last one
    on; the goals stay.

    Args:
        draw: makes the table, from the metrics it shows and the columns a setting may take.
    """
    shown, most, kept = list(metrics), None, set(objectives)
    while _width(console, table := draw(shown, most)) > console.width:
        spare = [name for name in shown if name not in kept]
        if most is None:
            most = MOST_OF_A_SETTING
        elif spare:
            shown.remove(spare[-1])
        else:
            break  # what is left to shorten are the settings, which the table does by itself
    return table


def table_of(before: Sequence[str], settings: Sequence[str], after: Sequence[str]) -> Table:
    """A table without rows. Settings give way where the others need the place."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in before:
        table.add_column(name, no_wrap=True)
    for name in settings:
        table.add_column(_in_one_line(name), justify="right")
    for name in after:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def cells(settings: Iterable[str], most: int | None) -> list[Text]:
    """Values of settings, each in one line of at most so many columns."""
    return [_in_one_line(shorten_middle(text, most)) for text in settings]


def short_names(keys: Sequence[str]) -> list[str]:
    """`model.L_cycles` is L_cycles, where no other key ends in the same word."""
    last = [key.rpartition(".")[2] for key in keys]
    times = Counter(last)
    return [name if times[name] == 1 else key for name, key in zip(last, keys, strict=True)]


def folded(console: Console, line: str) -> str:
    """A line broken between words, its rest indented; whole in a pipe."""
    if not console.is_terminal:
        return line
    return textwrap.fill(line, console.width, subsequent_indent="    ", break_on_hyphens=False)


def _in_one_line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def _width(console: Console, table: Table) -> int:
    return console.measure(table, options=console.options.update(max_width=ANY_WIDTH)).maximum
