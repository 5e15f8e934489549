"""`watch`: show a study or a run while another process works on it."""

from __future__ import annotations

import argparse

from hrm_sweep.commands.command import Command
from hrm_sweep.commands.resolve import resolve
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.study import Study
from hrm_sweep.system import output


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "study",
        metavar="STUDY",
        nargs="?",
        help="study, single run or STUDY/TRIAL, by name or folder; default: the newest study or "
        "single run",
    )


@output.tolerated()
def _run(arguments: argparse.Namespace) -> None:
    """Show it until it ends.

    Raises:
        SystemExit: it was stopped or failed (1).
    """
    from hrm_sweep.commands.watching import watch_run, watch_study

    found = resolve(arguments.study)
    outcome = watch_study(found) if isinstance(found, Study) else watch_run(found)
    if outcome in (None, Outcome.INTERRUPTED) or outcome.is_failure:
        raise SystemExit(1)


COMMAND = Command(
    name="watch",
    summary="Show a study or a run, from another terminal, until it ends.",
    examples=(
        ("", "the newest study or single run"),
        ("my-study", "the table of a study, as its own sweep shows it"),
        ("my-study/3", "the steps of trial 3"),
        ("/shared/multirun/my-study", "a study of another machine whose folder is seen here"),
    ),
    arguments=_arguments,
    run=_run,
    details="Only files of the study are read: nothing is started, and Ctrl-C ends nothing but the "
    "view. Exit codes: 0 when it is complete, 1 if it failed or was stopped.",
)
