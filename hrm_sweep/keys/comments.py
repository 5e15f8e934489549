"""Comments of a YAML file, by the key that they stand beside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]  # OmegaConf brings it

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Line(NamedTuple):
    """A key of a YAML file."""

    number: int
    """Counted from 1."""
    comment: str
    """What stands behind the value or, else, in the lines above the key; empty: nothing."""
    value: Any
    """The text of a scalar; None for null, and for a list or a mapping."""


class Comments(NamedTuple):
    """What a YAML file says of itself and of its keys."""

    heading: str
    """The comment at its top, in one line, without Hydra's `@package`."""
    package: str | None
    """What follows `@package`; None: nothing."""
    lines: dict[str, Line]
    """By dotted key, in the order of the file; keys of mappings, too."""


@lru_cache
def read(path: Path) -> Comments:
    """Return the comments of a file; none of one that cannot be read, which Hydra reports."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return Comments("", None, {})


def parse(text: str) -> Comments:
    """Return the comments of the text of a YAML file.

    Raises:
        yaml.YAMLError: it is none.
    """
    rows = text.splitlines()
    top = [row.lstrip("# ") for row in _block(rows, range(len(rows)))]
    package = next((row.split()[1] for row in top if row.startswith("@package ")), None)
    heading = " ".join(row for row in top if not row.startswith("@package"))
    root = yaml.compose(text, Loader=LOADER)
    return Comments(heading, package, dict(_lines(root, "", rows, first=len(top))))


def _lines(node: Any, prefix: str, rows: list[str], *, first: int) -> Iterator[tuple[str, Line]]:
    """Yield the keys of a mapping and of those in it; `first` is the row after the heading."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        row = key.start_mark.line
        is_scalar = isinstance(value, yaml.ScalarNode) and not value.tag.endswith(":null")
        name = prefix + str(key.value)
        comment = _behind(key, value, rows[row]) or _above(rows, row, first)
        yield name, Line(row + 1, comment, value.value if is_scalar else None)
        yield from _lines(value, f"{name}.", rows, first=first)


def _behind(key: Any, value: Any, row: str) -> str:
    """Return the comment behind a value; for a block that begins below its key, behind the key."""
    is_on_this_row = value.end_mark.line == key.start_mark.line
    end = (value if is_on_this_row else key).end_mark.column
    match = re.search(r"(?:^|\s)#\s*(.*)", row[end:])
    return match[1].strip() if match else ""


def _above(rows: list[str], row: int, first: int) -> str:
    """Return the comment in the lines above a key, as far as they are indented like it."""
    block = _block(rows, range(row - 1, first - 1, -1))
    margin = len(rows[row]) - len(rows[row].lstrip())
    alike = [each for each in block if len(each) - len(each.lstrip()) == margin]
    return " ".join(each.lstrip("# ") for each in reversed(alike))


def _block(rows: list[str], numbers: range) -> list[str]:
    """Return the rows from the first of the numbers on that are comments alone."""
    block: list[str] = []
    for number in numbers:
        if not rows[number].lstrip().startswith("#"):
            break
        block.append(rows[number])
    return block
