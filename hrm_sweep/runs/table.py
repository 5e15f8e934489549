"""A study as a table, a row for each run of it: one for each repeat, or for the trial itself."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study, find_study

if TYPE_CHECKING:
    from pandas import DataFrame


def rows(study: Study) -> list[dict[str, Any]]:
    """One dictionary for each run; the columns are told in `load_study`."""
    return [_row(study, trial, run) for trial in study.trials for run in (trial.repeats or [trial])]


def load_study(name: str | None = None) -> DataFrame:
    """A study as a pandas DataFrame, a row for each repeat of each trial, in their order.

    Columns: `study`; `trial`; `repeat` (from 0; missing where a trial is one run); `outcome`
    (complete, pruned, failed, diverged, killed, timed_out, interrupted, unjudged, running) and its
    `reason`; `started` (UTC) and `seconds`, those of all attempts; `params.<key>` for each searched
    key; every final value by its name, such as `eval/exact_match`, of the best epoch; `signature`
    (equal: the same recipe), `folder`, `mlflow_run_id`, `command`.

    Args:
        name: of a study below `multirun/`, or its folder; None is the newest.

    Raises:
        StudyError: there is no such study.
        RecordError: a record was edited.
    """
    import pandas

    return pandas.DataFrame(rows(find_study(name)))


def _row(study: Study, trial: Run, run: Run) -> dict[str, Any]:
    repeat = run.tags.get("hrm_sweep.repeat")
    return {
        "study": study.name,
        "trial": trial.number,
        "repeat": None if repeat is None else int(repeat),
        "outcome": run.outcome.word if run.outcome else "running",
        "reason": run.reason,
        "started": datetime.fromtimestamp(run.first.time_ms / 1000, timezone.utc),
        "seconds": run.seconds,
        **{f"params.{name}": value for name, value in study.params(trial).items()},
        **run.values,
        "signature": run.tags.get("hrm_sweep.signature"),
        "folder": str(run.folder),
        "mlflow_run_id": run.mlflow_run_id or None,
        "command": run.command,
    }
