"""A study as a table: a row for each repeat, or for a trial or a single run that was run once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.search.values import Value

if TYPE_CHECKING:
    from pandas import DataFrame


def to_frame(found: Study | Run) -> DataFrame:
    """Return a study or a run as a DataFrame; its columns are those that `load_study` documents."""
    import pandas

    return pandas.DataFrame(rows(found))


def rows(found: Study | Run) -> list[dict[str, Any]]:
    """Return the rows of the table, in the order of trials and repeats."""
    if isinstance(found, Run):
        return [_row(found, found.given)]
    return [
        _row(run, found.params(trial))
        for trial in found.trials
        for run in (trial.repeats or [trial])
    ]


def _row(run: Run, params: Mapping[str, Value]) -> dict[str, Any]:
    return {
        "study": run.study_name or None,
        "trial": run.number,
        "repeat": run.repeat,
        "outcome": run.outcome.word if run.outcome else run.word,
        "reason": run.reason,
        "started": datetime.fromtimestamp(run.first.time_ms / 1000, UTC),
        "seconds": run.seconds,
        **{f"params.{name}": value for name, value in params.items()},
        **run.values,
        "signature": run.tags.get("hrm_sweep.signature"),
        "folder": str(run.folder),
        "mlflow_run_id": run.mlflow_run_id or None,
        "command": run.command,
    }
