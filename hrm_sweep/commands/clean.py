"""`clean`: remove models and checkpoints that are not needed, to free space."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence

from hrm_sweep import formatting
from hrm_sweep.commands.addresses import tracking_of, tracking_of_run
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.console import facts
from hrm_sweep.commands.resolve import resolve_whole, studies, with_others
from hrm_sweep.commands.trust import confirmed
from hrm_sweep.errors import ConfigError, StudyError, TrackingError
from hrm_sweep.runs import models, removable
from hrm_sweep.runs.find import single_runs
from hrm_sweep.runs.removable import Removable
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.system import process
from hrm_sweep.system.durations import seconds_of
from hrm_sweep.system.redact import redacted
from hrm_sweep.tracking import store


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="studies and single runs; default: all studies, and with --older-than all single runs",
    )
    parser.add_argument(
        "--keep-best",
        type=_number,
        metavar="K",
        default=1,
        help="the K best trials of each study keep theirs, as does the Pareto front; default: 1",
    )
    parser.add_argument(
        "--older-than",
        type=_seconds,
        metavar="TIME",
        help="only of runs that ended so long ago, such as 12h, 30d or 2w",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would go; remove nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more; the best trial keeps its own")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = seconds_of("--older-than", text)
    except ConfigError:
        seconds = None
    if seconds is None or not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be a time with units, such as 12h or 30d")
    return seconds


def _run(arguments: argparse.Namespace) -> None:
    found = [each for each in _found(arguments) if each.models or each.num_waiting]
    parts = [each for each in found if each.models]
    for line in _describe(found):
        print(line)
    if not parts:
        print("There is nothing to remove.")
        return
    if arguments.dry_run:
        print("Nothing was removed: --dry-run.")
        return
    if not arguments.yes and not confirmed(
        "Type yes to remove them: ", about="clean", wanted="yes"
    ):
        print("Nothing was removed.")
        return
    freed = formatting.format_bytes(_size(parts))
    for part in parts:
        for each in part.models:
            models.remove(each.folder, each.names, by="clean")
    notes = [*filter(None, map(_remove_in_mlflow, parts))]
    for note in notes:
        print(note)
    print("Removed." if notes else f"Removed: {freed}.")


def _found(arguments: argparse.Namespace) -> Iterator[Removable]:
    seconds = arguments.older_than
    before_ms = math.inf if seconds is None else (time.time() - seconds) * 1000
    if arguments.names:
        named: list[Study | Run] = [resolve_whole(name) for name in arguments.names]
    else:
        named = [*map(with_others, studies()), *(single_runs() if seconds is not None else ())]
    for each in named:
        if isinstance(each, Study):
            yield removable.of_study(each, num_best=arguments.keep_best, before_ms=before_ms)
        else:
            yield removable.of_run(each, before_ms=before_ms)


def _describe(found: Sequence[Removable]) -> Iterator[str]:
    parts = [each for each in found if each.models]
    if parts:
        yield facts([(part.found.name, _what(part)) for part in parts])
        there = [each for part in parts for each in part.models]
        number = sum(len({*each.names, *each.in_mlflow}) for each in there)
        files = formatting.pluralize(number, "model file")
        where = ", here and in MLflow" if any(each.in_mlflow for each in there) else ""
        yield f"\nThis frees {formatting.format_bytes(_size(parts))}: {files}{where}."
        yield "Records, curves and pictures stay. To train a model again: " + (
            process.hrm_sweep_command("reproduce", "STUDY/TRIAL")
        )
    for each in found:
        if each.num_waiting:
            runs = formatting.pluralize(each.num_waiting, "run")
            yield f"{each.found.name}: checkpoints stay of {runs} that can continue."


def _what(part: Removable) -> str:
    size = formatting.format_bytes(_size([part]))
    if isinstance(part.found, Run):
        return f"{size}  a single run"
    return f"{size}  {part.num_trials} of {formatting.pluralize(len(part.found.trials), 'trial')}"


def _size(parts: Sequence[Removable]) -> int:
    """Return the bytes that are freed; a file with two names, here and in MLflow, counts once."""
    files: dict[tuple[int, int], int] = {}
    for part in parts:
        address = _address(part.found)
        for each in part.models:
            paths = [each.folder / name for name in each.names]
            if there := address and store.local_files(address, each.run_id):
                paths += [there / name for name in each.in_mlflow]
            stats = [path.lstat() for path in paths if path.exists()]
            files |= {(stat.st_dev, stat.st_ino): stat.st_size for stat in stats}
    return sum(files.values())


def _address(found: Study | Run) -> str | None:
    """Return the address of the MLflow that has its files; None: it was not exported."""
    try:
        if isinstance(found, Study):
            return tracking_of(found) if found.tracking else None
        return tracking_of_run(found)
    except StudyError:
        return None


def _remove_in_mlflow(part: Removable) -> str:
    """Let MLflow have what the folder has; return what the user should know."""
    address = _address(part.found)
    folders = [each.folder for each in part.models if each.in_mlflow]
    if not address or not folders:
        return ""
    from hrm_sweep.tracking.removal import remove_models

    where = f"{part.found.name}: MLflow at {redacted(address)}"
    try:
        num_left = remove_models(address, part.found.folder, folders)
    except TrackingError as error:
        return f"{where} has its copies still ({error}); to try again: clean again"
    if num_left:
        files = formatting.pluralize(num_left, "file")
        return f"{where} does not let files be removed and keeps {files}"
    return ""


COMMAND = Command(
    name="clean",
    summary="Remove models and checkpoints that are not needed any more, to free space.",
    examples=(
        ("--dry-run", "say what could be freed in each study"),
        ("my-study --keep-best 3", "the three best trials keep their models"),
        ("--older-than 30d --yes", "all studies and single runs, what ended a month ago or more"),
    ),
    arguments=_arguments,
    run=_run,
    details="Records, curves, pictures and reports stay, and with them best, show, report, export, "
    "compare and reproduce, which trains a model again. The best trial of a study, runs that are "
    "not at an end and those that are resumed keep their files. Models in MLflow go too, if its "
    "server lets them. To keep few from the beginning: study.keep_models=best.",
)
