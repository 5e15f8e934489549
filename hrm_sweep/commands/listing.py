"""`list`: show the studies below `multirun/`."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.console import console, plain_table
from hrm_sweep.commands.resolve import stopped_runs, studies, unreadable_records
from hrm_sweep.runs import layout
from hrm_sweep.runs.ranking import ranked
from hrm_sweep.runs.study import Study
from hrm_sweep.system import process


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(arguments: argparse.Namespace) -> None:
    found = studies()
    if arguments.json:
        print(json.dumps([_described(study) for study in found], indent=2))
        return
    for error in unreadable_records():
        print(f"left out: {error}")
    if found:
        _print_table(found)
    else:
        start = process.hrm_sweep_command("-m", "lr=1e-4,1e-3")
        print(f"No study in {layout.MULTIRUN}/ yet; start one: {start}")
    resumable = [study.name for study in found if study.can_go_on]
    for name in [*resumable, *(str(run.folder) for run in stopped_runs())]:
        print(f"  resume with: {process.hrm_sweep_command('resume', name)}")


def _print_table(found: list[Study]) -> None:
    table = plain_table("study", "when", "trials", "best", "")
    for study in found:
        ago = formatting.format_age(time.time() - study.run.last.time_ms / 1000)
        table.add_row(study.name, ago, _trials(study), _value(study), _point(study))
    console().print(table)


def _trials(study: Study) -> str:
    return ", ".join(f"{number} {word}" for word, number in study.counted().items())


def _value(study: Study) -> str:
    best = ranked(study)
    return study.app.metrics.metric(best[0].values, study.objective_names[0]) if best else "-"


def _point(study: Study) -> str:
    best = ranked(study)
    return formatting.format_point(study.params(best[0])) if best else ""


def _described(study: Study) -> dict[str, Any]:
    best = ranked(study)
    return {
        "name": study.name,
        "folder": str(study.folder),
        "command": study.command,
        "last_change_ms": study.run.last.time_ms,
        "trials": study.counted(),
        "can_go_on": study.can_go_on,
        "best": best[0].values | {"trial": best[0].number} if best else None,
    }


COMMAND = Command(
    name="list",
    summary="List the studies in multirun/, the newest first.",
    examples=(
        ("", "name, age, trials by outcome and best value of each study"),
        ("--json", "the same as JSON, for scripts"),
    ),
    arguments=_arguments,
    run=_run,
)
