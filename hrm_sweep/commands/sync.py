"""`sync`: what is written down and not in MLflow yet goes there."""

from __future__ import annotations

import argparse

from hrm_sweep.archive.studies import find_study
from hrm_sweep.commands.command import Command
from hrm_sweep.errors import StudyError
from hrm_sweep.study import words


def _run(arguments: argparse.Namespace) -> None:
    from hrm_sweep.projector import sync

    study = find_study(arguments.study)
    if not study.tracking:
        raise StudyError(f"{study.name}: was made with tracking=off, so nothing of it goes there")
    backlog = sync(study.folder, study.tracking["uri"], str(study.tracking["experiment"]))
    print(f"{study.name}: sent {words.count(backlog.sent, 'measurement')}; {backlog}")
    if backlog.runs:
        raise SystemExit(1)


COMMAND = Command(
    name="sync",
    summary="Send to MLflow what is written down and not there yet.",
    examples=(
        ("", "the newest study"),
        ("my-study", "exit code 1: the server did not take everything; try again later"),
    ),
    run=_run,
)
