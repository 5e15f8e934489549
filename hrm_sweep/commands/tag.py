"""`tag`, `note` and `archive`: what the user says of a study or a run once it is there."""

from __future__ import annotations

import argparse
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.console import facts
from hrm_sweep.commands.resolve import name_of, resolve, resolve_whole
from hrm_sweep.commands.sync import send_annotations
from hrm_sweep.errors import InputError
from hrm_sweep.runs.annotations import Annotations, annotate
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.tracking.limits import MAX_NAME, MAX_TAG, legal_name

RESERVED = ("mlflow.", "hrm_sweep.")
"""Beginnings of tags that MLflow or this package give a meaning."""


def _tag(arguments: argparse.Namespace) -> None:
    changes: dict[str, str | None] = dict(map(_parsed, arguments.tags))
    for name in arguments.remove:
        if name in changes:
            raise InputError(f"--remove {name}: {name}={changes[name]} sets it; leave one out")
    found = resolve(arguments.name)
    has = found.annotations.tags
    for name in arguments.remove:
        if name not in has:
            there = formatting.did_you_mean(name, has) or f"it has {', '.join(has) or 'none'}"
            raise InputError(f"--remove {name}: {arguments.name} has no tag of that name; {there}")
        changes[name] = None
    if changes:
        has = _change(found, tags=changes).tags
    print(facts([*has.items()]) if has else f"{arguments.name}: no tags", flush=True)
    if changes:
        send_annotations(found)


def _parsed(text: str) -> tuple[str, str]:
    """Return the key and the value of a tag as it was typed.

    Raises:
        InputError: it is no tag, or MLflow could not have it.
    """
    name, is_given, value = text.partition("=")
    if not (name and is_given):
        raise InputError(f"{text}: must be key=value, such as stage=paper")
    if reserved := next((each for each in RESERVED if name.startswith(each)), ""):
        raise InputError(f"{text}: tags of {reserved} have a meaning of their own; try my.{name}")
    if legal_name(name) != name:
        rule = f"may have letters, digits and _ - . : / and spaces, up to {MAX_NAME} of them"
        raise InputError(f"{text}: the key of a tag {rule}; try {legal_name(name)}={value}")
    if len(value) > MAX_TAG:
        way_out = f"shorten it, or write it into a file of the folder and tag its name: {name}=…"
        raise InputError(f"{name}: the value of a tag has up to {MAX_TAG} characters; {way_out}")
    return name, value


def _note(arguments: argparse.Namespace) -> None:
    found = resolve(arguments.name)
    if arguments.text is not None and len(arguments.text) > MAX_TAG:
        way_out = "shorten it, or write it into a file of the folder"
        raise InputError(f"{arguments.name}: a note has up to {MAX_TAG} characters; {way_out}")
    has = found.annotations.note
    if arguments.text is not None:
        has = _change(found, note=arguments.text.strip()).note
    print(has or f"{arguments.name}: no note", flush=True)
    if arguments.text is not None:
        send_annotations(found)


def _archive(arguments: argparse.Namespace) -> None:
    for found in [resolve_whole(name) for name in arguments.names]:
        _change(found, is_archived=not arguments.undo)
        said = "listed again" if arguments.undo else "archived; nothing is removed"
        print(f"{name_of(found)}: {said}", flush=True)
        send_annotations(found)


def _change(found: Study | Run, **changes: Any) -> Annotations:
    """Change the annotations of a study or run, and return them.

    Raises:
        InputError: its folder is not here, or cannot be written.
    """
    if isinstance(found, Run) and found.where:
        raise InputError(f"{found.folder}: is {found.where}; do it there, where its folder is")
    return annotate(found.folder, **changes)


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="name or folder of a study or single run, or STUDY/TRIAL"
    )


def _tag_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("tags", metavar="KEY=VALUE", nargs="*", help="tags to set; none: show all")
    parser.add_argument(
        "--remove", metavar="KEY", action="append", default=[], help="remove a tag; may be repeated"
    )


def _note_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument(
        "text", metavar="TEXT", nargs="?", help="the note; '' removes it; default: show it"
    )


def _archive_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", metavar="NAME", nargs="+", help="name or folder of a study or single run"
    )
    parser.add_argument("--undo", action="store_true", help="list it again")


_WHERE = (
    "It is kept in annotations.json in the folder of the study or run, and goes where that goes. "
    "A run that is in MLflow already gets it there at once, or by `sync` where MLflow cannot be "
    "reached."
)

TAG = Command(
    name="tag",
    summary="Set, remove or show tags of a study or run.",
    examples=(
        ("my-study stage=paper owner=ann", "two tags"),
        ("my-study/3 checked=yes", "a tag of trial 3"),
        ("my-study --remove owner", "without that tag"),
        ("my-study", "show the tags"),
    ),
    arguments=_tag_arguments,
    run=_tag,
    details=f"`list --tag stage=paper` finds it again. {_WHERE}",
)
NOTE = Command(
    name="note",
    summary="Write or show the note of a study or run.",
    examples=(
        ("my-study 'lr above 1e-3 diverges'", "write the note; it replaces one that is there"),
        ("my-study", "show it"),
        ("my-study ''", "remove it"),
    ),
    arguments=_note_arguments,
    run=_note,
    details=f"MLflow shows it above the description of the run. {_WHERE}",
)
ARCHIVE = Command(
    name="archive",
    summary="Hide studies or single runs from `list`, without removing anything.",
    examples=(
        ("my-study", "hide it; `list --archived` shows it"),
        ("my-study --undo", "list it again"),
    ),
    arguments=_archive_arguments,
    run=_archive,
    details="A command that takes the newest study or run passes over those that are archived; by "
    "its name each is found as before. In MLflow its runs stay active and have the tag "
    f"hrm_sweep.archived. {_WHERE}",
)
