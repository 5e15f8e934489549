"""`report`: a study on one page."""

from __future__ import annotations

import argparse

from hrm_sweep.commands.command import Command
from hrm_sweep.commands.console import facts
from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.errors import StudyError


def _run(arguments: argparse.Namespace) -> None:
    from hrm_sweep.report.page import write  # matplotlib: only where something is drawn

    study = resolve_study(arguments.study)
    if not study.trials:
        raise StudyError(f"{study.name}: no trial was started yet, so there is nothing to report")
    page, *drawn = write(study)
    print(
        facts(
            [
                ("report", str(study.folder / page)),
                ("figures", f"{study.folder / 'figures'}/ ({len(drawn)} PNG)"),
            ]
        )
    )


COMMAND = Command(
    name="report",
    summary="Write report.html (one file, no network needed) and its figures as PNG.",
    examples=(
        ("", "of the newest study; a study makes its own when it ends"),
        ("my-study", "once more, also while it runs"),
    ),
    run=_run,
)
