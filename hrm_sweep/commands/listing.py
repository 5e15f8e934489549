"""`list`: show the studies and single runs below `multirun/`."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hrm_sweep import formatting
from hrm_sweep.commands.as_json import json_argument, print_json
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.console import plain_table
from hrm_sweep.commands.filters import EXAMPLE, Filter
from hrm_sweep.commands.listed import Listed, listed
from hrm_sweep.commands.resolve import everything, how_to_start, name_of, unreadable, with_others
from hrm_sweep.errors import InputError
from hrm_sweep.runs import layout
from hrm_sweep.runs.study import Study
from hrm_sweep.runs.writers import describe_unknown
from hrm_sweep.system import process
from hrm_sweep.system.disk_use import DiskUse
from hrm_sweep.system.output import printable
from hrm_sweep.terminal.consoles import PrintableConsole
from hrm_sweep.terminal.tables import cut_to

MLFLOW = Path("mlruns")
_SHRINKING = (
    *(("name", 32), ("note", 16), ("tags", 16), ("", 24)),
    *(("note", 10), ("tags", 10), ("", 10), ("folder", 10), ("outcome", 10), ("name", 10)),
)
"""Columns that give way on a narrow terminal, in this order, and what they keep."""
_SPARE = ("note", "tags", "", "folder")
"""Columns that a narrow terminal does without."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--filter",
        metavar="EXPRESSION",
        action="append",
        default=[],
        help=f"only what satisfies it: {EXAMPLE}; may be repeated",
    )
    parser.add_argument(
        "--tag",
        metavar="KEY[=VALUE]",
        action="append",
        default=[],
        help="only what has this tag; may be repeated",
    )
    parser.add_argument(
        "--sort", choices=_ORDERS, default="when", help="order of the lines; default: when"
    )
    parser.add_argument("--reverse", action="store_true", help="the other way round")
    parser.add_argument("--limit", metavar="N", type=int, help="the first N lines only")
    hidden = parser.add_mutually_exclusive_group()
    hidden.add_argument("--archived", action="store_true", help="only what was archived")
    hidden.add_argument(
        "--all", action="store_true", help="also what was archived, and copies by `reproduce`"
    )
    parser.add_argument("--du", action="store_true", help="show what the folders take on the disk")
    json_argument(parser)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.limit is not None and arguments.limit < 1:
        raise InputError(f"--limit {arguments.limit}: must be at least 1; leave it out for all")
    wanted = Filter(arguments.filter)
    found = everything()
    lines = listed(with_others(each) if isinstance(each, Study) else each for each in found)
    shown = [line for line in lines if not _is_hidden(line, arguments)]
    selected = [line for line in wanted.select(shown) if _has_tags(line, arguments.tag)]
    ordered = _ordered(selected, arguments.sort, is_reversed=arguments.reverse)
    printed = ordered[: arguments.limit]
    if arguments.json:
        print_json([line.described(with_size=arguments.du) for line in printed])
        return
    damaged = (error for each in lines for error in _damaged(each))
    for error in (*unreadable(), *damaged):
        print(f"left out: {error}")
    if printed:
        _print_table(printed, with_size=arguments.du or arguments.sort == "size")
    for text in _further(arguments, lines, shown, ordered, printed):
        print(text)
    for line in printed:
        _print_hints(line)


def _is_hidden(line: Listed, arguments: argparse.Namespace) -> bool:
    if arguments.all:
        return False
    if arguments.archived:
        return not line.found.annotations.is_archived
    return line.found.annotations.is_archived or line.found.copy_of is not None


def _has_tags(line: Listed, wanted: Sequence[str]) -> bool:
    tags = line.found.annotations.tags
    pairs = (text.partition("=") for text in wanted)
    return all(name in tags and (not sign or tags[name] == value) for name, sign, value in pairs)


def _goodness(line: Listed) -> tuple[bool, str, float]:
    """Return what sorts the best first; values of other objectives have a place of their own."""
    name, direction = line.objective
    value = line.value
    if value is None or math.isnan(value):
        return True, name, 0.0
    return False, name, -value if direction == "maximize" else value


_ORDERS: dict[str, Callable[[Listed], object]] = {
    "best": _goodness,
    "when": lambda line: -line.found.last_ms,
    "name": lambda line: line.name,
    "trials": lambda line: -sum(line.outcomes.values()),
    "size": lambda line: -line.size,
}


def _ordered(lines: Sequence[Listed], order: str, *, is_reversed: bool) -> list[Listed]:
    """Return the lines in an order, copies by `reproduce` after their original."""
    found = sorted(lines, key=_ORDERS[order], reverse=is_reversed)  # type: ignore[arg-type]
    copies: dict[Path | None, list[Listed]] = {}
    folders = {line.folder.resolve(): line.found.whole_id for line in found}
    for line in found:
        copies.setdefault(_original(line, folders), []).append(line)
    originals = copies.pop(None, [])
    return [each for line in originals for each in (line, *copies.get(line.folder.resolve(), ()))]


def _original(line: Listed, folders: Mapping[Path, str]) -> Path | None:
    """Return the folder of the listed study or run of which a line is a copy by `reproduce`.

    Args:
        folders: those of the listed, with their ids, which stay when a folder is renamed.
    """
    if line.found.copy_of is None:
        return None
    named = line.found.copy_of.resolve()
    there = (path for path in (named, *named.parents) if path in folders)
    renamed = (path for path, whole_id in folders.items() if whole_id == line.found.original_id)
    return next(there, next(renamed, None))


def _damaged(line: Listed) -> Iterator[Exception]:
    if isinstance(line.found, Study):
        yield from line.found.damaged.values()


def _print_table(lines: Sequence[Listed], *, with_size: bool) -> None:
    console = PrintableConsole()
    rows = [_row(line, with_size=with_size) for line in lines]
    columns = {name: [printable(row[name]) for row in rows] for name in rows[0]}
    needed = {name: cells for name, cells in columns.items() if any(cells) or name == ""}
    if console.is_terminal:
        needed = cut_to(console.width, needed, _SHRINKING, spare=_SPARE, middle=("name", "folder"))
    table = plain_table(*needed, right=("size",))
    for cells in zip(*needed.values(), strict=True):
        table.add_row(*cells)
    console.print(table)


def _row(line: Listed, *, with_size: bool) -> dict[str, str]:
    """Return the cells of a line, by the names of the columns."""
    found, said = line.found, line.found.annotations
    is_found_by_name = name_of(found) == line.name
    marks = [", a copy" * line.is_copy, ", archived" * said.is_archived]
    copy = "" if found.copy_of is None else "  copy: "
    return {
        "name": copy + line.name + "".join(marks),
        "folder": "" if is_found_by_name else str(line.folder),
        "when": formatting.format_age(time.time() - found.last_ms / 1000),
        "outcome": line.outcomes_as_text,
        "size": formatting.format_bytes(line.size) if with_size else "",
        "best": line.value_as_text,
        "": line.point,
        "tags": said.described(),
        "note": " ".join(said.note.split()),
    }


def _further(
    arguments: argparse.Namespace,
    lines: Sequence[Listed],
    shown: Sequence[Listed],
    ordered: Sequence[Listed],
    printed: Sequence[Listed],
) -> Iterator[str]:
    """Yield what the table does not say: sums, and what it leaves out."""
    if arguments.du:
        size = formatting.format_bytes(sum(line.size for line in ordered))
        line = f"{formatting.pluralize(len(ordered), 'folder')}, {size}"
        with_mlflow = f"; MLflow's in {MLFLOW}/: {formatting.format_bytes(DiskUse().of(MLFLOW))}"
        yield line + with_mlflow * MLFLOW.is_dir()
    if not lines:
        yield f"No study or run in {layout.MULTIRUN}/ yet; {how_to_start()}"
    elif not ordered:
        yield f"None of {len(shown)} satisfies that." if shown else "None is archived."
    if more := len(ordered) - len(printed):
        yield f"and {more} more (--limit {arguments.limit})"
    hidden = [line for line in lines if _is_hidden(line, arguments)]
    archived = sum(line.found.annotations.is_archived for line in hidden)
    if archived and not arguments.archived:
        yield f"{archived} archived: {process.hrm_sweep_command('list', '--archived')}"
    if (copies := len(hidden) - archived) and not arguments.archived:
        number = f"{copies} {'copy' if copies == 1 else 'copies'} by reproduce"
        yield f"{number}: {process.hrm_sweep_command('list', '--all')}"


def _print_hints(line: Listed) -> None:
    """Print who may run a study elsewhere, and what resumes a study or a run."""
    found, name = line.found, name_of(line.found)
    unknown = found.unknown_writers if isinstance(found, Study) else [found.unknown_writer]
    for text in dict.fromkeys(describe_unknown(writer, name) for writer in unknown if writer):
        print(f"  {line.name}: {text}")
    if former := found.annotations.former:
        finish = process.hrm_sweep_command("rename", former, found.annotations.name)
        print(f"  {line.name}: was not renamed to the end; to finish: {finish}")
    if found.can_go_on:
        print(f"  resume with: {process.hrm_sweep_command('resume', name)}")


COMMAND = Command(
    name="list",
    summary="List the studies and single runs in multirun/, the newest first.",
    examples=(
        ("", "name, age, outcome and best value of each study and single run"),
        ("--filter 'lr<1e-3 and eval/exact_match>90%'", "by the config and values of the best"),
        ("--filter 'outcome=failed'", "those with a failed trial"),
        ("--tag stage=paper --sort best --limit 20", "the best 20 of those with a tag"),
        ("--du --sort size", "what takes most of the disk"),
        ("--json", "the same as JSON, for scripts"),
    ),
    arguments=_arguments,
    run=_run,
    details="--filter takes comparisons joined by `and`: a key, one of < <= > >= = != like, and a "
    "value. A key is name, kind (study, run), outcome, app, trials, folder, note, a key of the "
    "config, a metric or a tag; its last word is enough where no other key ends so. Of a study, "
    "config and metrics are those of its best trial. params.KEY, metrics.KEY, tags.KEY and "
    "attributes.KEY name one kind of key only, as in MLflow; quote what has other signs: "
    "metrics.\"a<b\" > 1. `like` takes % for any text: name like '2026-11-%'. 90% is 0.9.",
)
