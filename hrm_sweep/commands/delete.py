"""`delete`: remove a study or a single run from its folder, Optuna and MLflow."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from hrm_sweep import formatting
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.resolve import reproductions, resolve, resolve_whole
from hrm_sweep.commands.run_removal import RunRemoval
from hrm_sweep.commands.study_removal import StudyRemoval
from hrm_sweep.commands.trust import confirmed
from hrm_sweep.errors import InputError
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.system import process

EVERY_COPY = "reproductions"
"""What the user types to remove several copies."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "study", metavar="NAME", nargs="?", help="name or folder of a study or a single run"
    )
    parser.add_argument(
        "--reproductions",
        action="store_true",
        help="remove only the copies that `reproduce` has made of it, or of STUDY/TRIAL; "
        "without NAME all of them",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def _run(arguments: argparse.Namespace) -> None:
    found = _named(arguments)
    if not found:
        print("There are no reproductions; nothing was removed.")
        return
    removals = [RunRemoval(one) if isinstance(one, Run) else StudyRemoval(one) for one in found]
    for removal in removals:
        for line in removal.describe():
            print(line)
    if not arguments.reproductions:
        _name_reproductions(found[0], arguments.study)
    if not arguments.yes and not _confirmed([removal.name for removal in removals]):
        print("Nothing was removed.")
        return
    for removal in removals:
        left = removal.remove(is_seen=not arguments.yes)
        print(f"{removal.name}: removed.")
        if left:
            names = formatting.shorten_list(left)
            print(f"{removal.folder} stays with other files: {names}")


def _named(arguments: argparse.Namespace) -> Sequence[Study | Run]:
    if arguments.reproductions:
        return reproductions(resolve(arguments.study) if arguments.study else None)
    if arguments.study is None:
        raise InputError("delete: needs the name of a study or a single run; see: " + _list())
    return [resolve_whole(arguments.study)]


def _list() -> str:
    return process.hrm_sweep_command("list")


def _name_reproductions(found: Study | Run, named: str) -> None:
    if copies := reproductions(found):
        number = formatting.pluralize(len(copies), "reproduction")
        command = process.hrm_sweep_command("delete", named, "--reproductions")
        print(f"{number} of it will stay; to remove them too: {command}")


def _confirmed(names: Sequence[str]) -> bool:
    wanted = names[0] if len(names) == 1 else EVERY_COPY
    what = "it" if len(names) == 1 else "them"
    return confirmed(f"Type {wanted} to remove {what}: ", about=names[0], wanted=wanted)


COMMAND = Command(
    name="delete",
    summary="Delete a study or a single run: its folder, its trials in Optuna, its runs in MLflow.",
    examples=(
        ("my-study", "show what is deleted, and ask for the name to confirm"),
        ("my-run", "a single run: its folder and its run in MLflow"),
        ("my-study --yes", "delete without asking"),
        ("my-study --reproductions", "delete the copies that `reproduce` has made of its trials"),
    ),
    arguments=_arguments,
    run=_run,
)
