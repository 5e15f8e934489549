"""`init`: write a small app of the user's own."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from hrm_sweep import formatting
from hrm_sweep.commands.command import Command
from hrm_sweep.errors import InputError
from hrm_sweep.system import files, process, shell

TEMPLATE = Path(__file__).parents[1] / "template"
"""The app, as it is written; `gitignore` gets its dot."""
NEXT = (
    ("python app.py", "train once"),
    ("python app.py --help", "its keys"),
    ("python app.py -m lr=0.1,0.03,0.01", "a study"),
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", default="my_app", help="default: my_app"
    )


def _run(arguments: argparse.Namespace) -> None:
    folder = Path(arguments.folder)
    written = {path: folder / _name(path) for path in sorted(_files())}
    _check(folder, written.values())
    for source, target in written.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    print(f"Wrote {len(written)} files into {folder}: app.py, conf/, README.md and a test. Next:\n")
    commands = [*NEXT, (process.hrm_sweep_command("best"), "its best trial")]
    if folder.resolve() != Path.cwd():
        commands = [(f"cd {shell.quote(str(folder))}", ""), *commands]
    for command, does in commands:
        print(f"  {command:36}{does}".rstrip())


def _files() -> list[Path]:
    found = (path for path in TEMPLATE.rglob("*") if path.is_file())
    return [path for path in found if path.suffix != ".pyc"]


def _name(path: Path) -> Path:
    relative = path.relative_to(TEMPLATE)
    return relative.with_name(".gitignore") if relative.name == "gitignore" else relative


def _check(folder: Path, targets: Iterable[Path]) -> None:
    """Check that the files can be written and that none of them is there.

    Raises:
        InputError: one is there, or the folder is none or cannot be written.
    """
    within = {each.relative_to(folder) for each in targets}
    taken = {path for path in within if os.path.lexists(folder / path)}
    taken |= {path.parent for path in within if (folder / path.parent).is_file()}
    if there := sorted(map(str, taken)):
        names = formatting.shorten_list(there)
        raise InputError(f"{folder}: has {names} already; name a new folder: init FOLDER")
    files.check_writable(folder)


COMMAND = Command(
    name="init",
    summary="Write a small app of your own: a task, its configs, a README and a test.",
    examples=(
        ("", "into the folder my_app"),
        ("studies/curves", "into another folder"),
        (".", "into this folder"),
    ),
    run=_run,
    arguments=_arguments,
    details="The app works at once, needs no PyTorch and shows what the engine asks of an app: a "
    "task that logs its steps, keeps a checkpoint and returns a number. No file is overwritten.",
)
