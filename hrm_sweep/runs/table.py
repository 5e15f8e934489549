"""A study as a table: a row for each repeat, or for a trial that was run once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study

if TYPE_CHECKING:
    from pandas import DataFrame


def to_frame(study: Study) -> DataFrame:
    """Return a study as a DataFrame; its columns are those that `load_study` documents."""
    import pandas

    runs = [(trial, run) for trial in study.trials for run in (trial.repeats or [trial])]
    return pandas.DataFrame([_row(study, trial, run) for trial, run in runs])


def _row(study: Study, trial: Run, run: Run) -> dict[str, Any]:
    repeat = run.tags.get("hrm_sweep.repeat")
    return {
        "study": study.name,
        "trial": trial.number,
        "repeat": None if repeat is None else int(repeat),
        "outcome": run.outcome.word if run.outcome else run.word,
        "reason": run.reason,
        "started": datetime.fromtimestamp(run.first.time_ms / 1000, UTC),
        "seconds": run.seconds,
        **{f"params.{name}": value for name, value in study.params(trial).items()},
        **run.values,
        "signature": run.tags.get("hrm_sweep.signature"),
        "folder": str(run.folder),
        "mlflow_run_id": run.mlflow_run_id or None,
        "command": run.command,
    }
