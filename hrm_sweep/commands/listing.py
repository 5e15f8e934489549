"""`list`: show the studies below `multirun/`."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.console import plain_table
from hrm_sweep.commands.resolve import how_to_start, stopped_runs, studies, unreadable, with_others
from hrm_sweep.runs import layout
from hrm_sweep.runs.places import Whereabouts, whereabouts
from hrm_sweep.runs.ranking import ranked
from hrm_sweep.runs.study import Study
from hrm_sweep.runs.writers import describe_unknown
from hrm_sweep.system import process
from hrm_sweep.terminal.consoles import PrintableConsole


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(arguments: argparse.Namespace) -> None:
    found = [with_others(study) for study in studies()]
    if arguments.json:
        print(json.dumps([_described(study) for study in found], indent=2))
        return
    damaged = (error for study in found for error in study.damaged.values())
    for error in (*unreadable(), *damaged):
        print(f"left out: {error}")
    if found:
        _print_table(found)
    else:
        print(f"No study in {layout.MULTIRUN}/ yet; {how_to_start()}")
    for study in found:
        for line in dict.fromkeys(
            describe_unknown(writer, study.reference) for writer in study.unknown_writers
        ):
            print(f"  {study.name}: {line}")
    resumable = [study.reference for study in found if study.can_go_on]
    for name in [*resumable, *(str(run.folder) for run in stopped_runs())]:
        print(f"  resume with: {process.hrm_sweep_command('resume', name)}")


def _print_table(found: list[Study]) -> None:
    table = plain_table("study", "when", "trials", "best", "")
    for study in found:
        ago = formatting.format_age(time.time() - study.run.last.time_ms / 1000)
        table.add_row(_name(study, found), ago, _trials(study), _value(study), _point(study))
    PrintableConsole().print(table)


def _name(study: Study, found: list[Study]) -> str:
    """Return the name of a study, with its folder where the name does not lead there."""
    name = study.name if study.reference == study.name else f"{study.name} ({study.folder})"
    has_original = any(other.id == study.id for other in found if other is not study)
    is_copy = has_original and whereabouts(study) is Whereabouts.COPY
    return f"{name}, a copy" if is_copy else name


def _trials(study: Study) -> str:
    counts = study.describe_counts()
    return f"{counts} ({elsewhere})" if (elsewhere := study.describe_elsewhere()) else counts


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
