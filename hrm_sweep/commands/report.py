"""`report`: write the report of a study or a run."""

from __future__ import annotations

import argparse
import time

from hrm_sweep.commands.command import Command
from hrm_sweep.commands.console import facts
from hrm_sweep.commands.resolve import resolve, with_others
from hrm_sweep.errors import StudyError
from hrm_sweep.report import write_report
from hrm_sweep.runs import layout
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "study",
        metavar="STUDY",
        nargs="?",
        help="also a single run, STUDY/TRIAL, a folder or an MLflow run id; "
        "default: the newest study or single run",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="write it again while the study or run continues, until it ends or Ctrl-C; "
        "the open page follows",
    )


def _run(arguments: argparse.Namespace) -> None:
    found = resolve(arguments.study)
    if isinstance(found, Run) and found.where:
        raise StudyError(f"{arguments.study}: ran {found.where}, so its folder is not here")
    if arguments.watch:
        _watch(found)
        return
    if isinstance(found, Study) and not found.trials:
        raise StudyError(f"{found.name}: no trial was started yet, so there is nothing to report")
    page, *drawn = write_report(found)
    shown = [("report", str(found.folder / page))]
    if drawn:
        shown.append(("figures", f"{found.folder / layout.FIGURES}/ ({len(drawn)} PNG)"))
    print(facts(shown))


def _watch(found: Study | Run) -> None:
    from hrm_sweep.report.following import follow  # imports matplotlib

    print(f"  {found.folder / layout.REPORT} follows what runs (Ctrl-C ends this only)", flush=True)
    try:
        follow(found.folder, _whole, _say)
    except KeyboardInterrupt as error:
        print("  the page stays as it is; what runs continues")
        raise SystemExit(0) from error


def _whole(found: Study | Run) -> Study | Run:
    return with_others(found) if isinstance(found, Study) else found


def _say(text: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')}  {text}", flush=True)


COMMAND = Command(
    name="report",
    summary="Write report.html (one file, no network needed) and its figures as PNG.",
    examples=(
        ("", "the newest study or single run; a study writes its report itself when it ends"),
        ("my-study", "write it again, also while the study runs"),
        ("my-study --watch", "write it again whenever a trial has measured; the page follows"),
        ("my-study/3", "one trial: its curves, pictures and config, in its own folder"),
    ),
    arguments=_arguments,
    run=_run,
)
