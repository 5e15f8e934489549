"""`report`: write the report of a study."""

from __future__ import annotations

import argparse

from hrm_sweep.commands.command import Command
from hrm_sweep.commands.console import facts
from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.errors import StudyError
from hrm_sweep.runs import layout


def _run(arguments: argparse.Namespace) -> None:
    from hrm_sweep.report.page import write  # imports matplotlib

    study = resolve_study(arguments.study)
    if not study.trials:
        raise StudyError(f"{study.name}: no trial was started yet, so there is nothing to report")
    page, *drawn = write(study)
    print(
        facts(
            [
                ("report", str(study.folder / page)),
                ("figures", f"{study.folder / layout.FIGURES}/ ({len(drawn)} PNG)"),
            ]
        )
    )


COMMAND = Command(
    name="report",
    summary="Write report.html (one file, no network needed) and its figures as PNG.",
    examples=(
        ("", "the newest study; a study writes its report itself when it ends"),
        ("my-study", "write it again, also while the study runs"),
    ),
    run=_run,
)
