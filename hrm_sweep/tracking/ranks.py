"""The rank of each trial in MLflow, so that its tables sort by the one rule for the best trial.

MLflow sorts by one column, and the rule has several: objectives, constraints, tie breaker, number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlflow.entities import Run

from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.tracking.client import Destination
from hrm_sweep.tracking.limits import legal_name
from hrm_sweep.tracking.saved_view import RANK, best_name


def write_ranks(destination: Destination, study_run_id: str, objectives: Objectives) -> None:
    """Write the rank of each complete trial, 1 for the best; a rank that is right is left alone.

    Trials are judged by what MLflow has of them, so that those of other machines count.

    Raises:
        Unreachable, Refused: see `errors`; written again later, the ranks are the same.
    """
    trials = [run for run in destination.children(study_run_id) if _is_complete(run, objectives)]
    ranked = objectives.ranked(sorted(trials, key=_number), lambda run: _values(run, objectives))
    for rank, run in enumerate(ranked, start=1):
        if run.data.metrics.get(RANK) != rank:
            destination.open(run.info.run_id).log_rank(RANK, rank, step=len(ranked))


def _number(run: Run) -> int:
    return int(run.data.tags["hrm_sweep.trial"])


def _is_complete(run: Run, objectives: Objectives) -> bool:
    is_complete = run.data.tags.get("hrm_sweep.outcome") == Outcome.COMPLETE.word
    is_judged = set(objectives.required) <= _values(run, objectives).keys()
    return is_complete and is_judged and "hrm_sweep.trial" in run.data.tags


def _values(run: Run, objectives: Objectives) -> Mapping[str, float]:
    names: Sequence[str] = [*objectives.required, *filter(None, [objectives.tie_breaker])]
    stored = {name: run.data.metrics.get(legal_name(best_name(name))) for name in names}
    return {name: value for name, value in stored.items() if value is not None}
