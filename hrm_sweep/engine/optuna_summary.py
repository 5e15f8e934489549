"""What Optuna gets at the end of a study: the MLflow runs of its trials, and which one is best."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import optuna

from hrm_sweep import formatting
from hrm_sweep.engine.open_study import OpenStudy
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.errors import DatabaseAway
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.storage.dashboard_note import write_note
from hrm_sweep.storage.optuna_storage import SharedStorage

RUN_ID = "mlflow_run_id"
BEST = ("best_trial", "best_params", "best_value", "best_trials")
"""User attributes of a study; the last one has the front of several objectives."""


class OptunaSummary:
    """Observer that completes a study in Optuna, once its runs have been exported.

    Of equal trials, Optuna's own `best_trial` is any. The study's attributes and its note in the
    dashboard name the one that every command names.
    """

    def __init__(self, opened: OpenStudy) -> None:
        self._storage, self._study = opened.storage, opened.study

    def begin(self, state: StudyState) -> None:
        """Keep the state."""
        self._state = state

    def tick(self) -> None:
        """Do nothing."""

    def trial_ended(self, trial: TrialProgress) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Write everything in one transaction; a database that does not answer gets it later."""
        ended = self._state.ended.values()
        run_ids = {trial.number: ExportState.load(trial.folder).run_id for trial in ended}
        alone = self._storage.exclusive_transaction(self._study.study_name)
        with contextlib.suppress(DatabaseAway), alone:
            write_run_ids(self._storage, self._study, run_ids)
            for name, value in best_of(self._state).items():
                if self._study.user_attrs.get(name) != value:
                    self._study.set_user_attr(name, value)
            note = formatting.escape_markdown(_in_words(self._state))
            write_note(self._storage, self._study, note)


def write_run_ids(storage: SharedStorage, study: optuna.Study, run_ids: Mapping[int, str]) -> None:
    """Let trials of a study name their runs in MLflow, which may be known after a trial has ended.

    Args:
        run_ids: by trial number; an empty one is not known.
    """
    for trial in study.get_trials(deepcopy=False):
        run_id = run_ids.get(trial.number)
        if run_id and trial.user_attrs.get(RUN_ID) != run_id:
            storage.set_user_attrs(trial, {RUN_ID: run_id})


def best_of(state: StudyState) -> dict[str, Any]:
    """Return the attributes that name the best trial, or those of the front; others are None."""
    found: dict[str, Any] = dict.fromkeys(BEST)
    if state.objectives.is_multi_objective:
        return found | {"best_trials": [trial.number for trial in state.front]}
    if state.best is None:
        return found
    (value,) = state.objectives.values_of(state.best.values)
    params = dict(state.best.params)
    return found | {
        "best_trial": state.best.number,
        "best_params": params,
        "best_value": value,
    }


def _in_words(state: StudyState) -> str:
    if not state.front:
        return "no trial is the best yet"
    numbers = ", ".join(str(trial.number) for trial in state.front)
    if state.best is None:
        return f"trials that no other beats: {numbers}"
    values = state.best.values
    names = [*state.objectives.names, state.objectives.tie_breaker]
    shown = ", ".join(f"{name} {values[name]:.6g}" for name in names if name in values)
    return f"best trial: {numbers} ({formatting.format_point(state.best.params)}), {shown}"
