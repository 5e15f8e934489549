"""What commands print with --json: keys are described in docs/json.md, which a test checks."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

from hrm_sweep.runs.record import marked
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_names import reference, study_around
from hrm_sweep.runs.study import Study


def json_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option --json to a parser."""
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def print_json(value: Any) -> None:
    """Print a tree of plain values; a number that is not finite becomes text, as in records."""
    print(json.dumps(marked(value), indent=2, allow_nan=False))


def describe(run: Run, study: Study | None = None) -> dict[str, Any]:
    """Return a run as a tree of plain values, without its curves.

    Args:
        study: that a trial is one of; None: the one whose folder it is in.
    """
    study = study or study_around(run)
    copy_of = run.copy_of
    return {
        "name": reference(run),
        "study": run.study_name or None,
        "trial": run.number,
        "repeat": run.repeat,
        "outcome": run.word,
        "reason": run.reason,
        "started_ms": run.first.time_ms,
        "seconds": run.seconds,
        "attempts": run.attempts,
        "objectives": study.objective_names if study else [],
        "values": run.values,
        "params": study.params(run) if study else run.given,
        "overrides": run.overrides,
        "command": shlex.split(run.command),
        "repeats": len(run.repeats) or 1,
        "copy_of": None if copy_of is None else str(copy_of),
        "folder": str(run.folder),
        "mlflow_run_id": run.mlflow_run_id or None,
    }
