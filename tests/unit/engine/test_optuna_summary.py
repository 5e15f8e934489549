"""Optuna has of a study what every command says of it, once its runs are in MLflow."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna_dashboard import get_note, save_note

from hrm_sweep.engine.optuna_summary import best_of, write_run_ids
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.search.objectives import parse_objectives
from hrm_sweep.storage.dashboard_note import write_note
from hrm_sweep.storage.optuna_storage import SharedStorage


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/optuna.db"


@pytest.fixture
def study(url: str) -> optuna.Study:
    return SharedStorage(url).open_study("otter", ["maximize"])


def again(url: str) -> optuna.Study:
    """The study as another process reads it, by Optuna's own means."""
    return optuna.load_study(study_name="otter", storage=url)


def test_a_finished_trial_gets_the_run_id_that_came_late(study, url):
    for _ in range(3):
        study.tell(study.ask(), 1.0)
    write_run_ids(SharedStorage(url), study, {0: "a", 1: "", 2: "c"})
    write_run_ids(SharedStorage(url), again(url), {1: "b", 2: ""})
    found = [trial.user_attrs.get("mlflow_run_id") for trial in again(url).trials]
    assert found == ["a", "b", "c"]


def state_of(objective, *values: tuple[float, ...], tie_breaker: str | None = None) -> StudyState:
    """A study whose trials are complete with these values, which ended in reverse order."""
    several = isinstance(objective, list)
    direction = ["maximize"] * len(objective) if several else "maximize"
    objectives = parse_objectives(objective, direction, tie_breaker=tie_breaker)
    names = [*objectives.names, "loss"]
    state = StudyState(name="otter", objectives=objectives, num_trials=len(values))
    for number, found in reversed([*enumerate(values)]):
        trial = TrialProgress(number, {"lr": number / 10}, Path(str(number)), 1)
        trial.outcome = Outcome.COMPLETE
        trial.values = dict(zip(names, found, strict=False))
        state.ended[number] = trial
    return state


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(
            state_of("x", (1.0, 3.0), (1.0, 2.0), (1.0, 2.0), tie_breaker="loss"),
            {"best_trial": 1, "best_params": {"lr": 0.1}, "best_value": 1.0, "best_trials": None},
            id="tie",
        ),
        pytest.param(
            state_of(["x", "y"], (1.0, 3.0), (2.0, 1.0), (0.0, 0.0)),
            {
                "best_trial": None,
                "best_params": None,
                "best_value": None,
                "best_trials": [1, 0],
            },
            id="front",
        ),
        pytest.param(
            state_of("x"),
            dict.fromkeys(["best_trial", "best_params", "best_value", "best_trials"]),
            id="none",
        ),
    ],
)
def test_the_best_trial_is_that_of_the_one_rule(state, expected):
    found = best_of(state)
    if found["best_trials"]:
        found["best_trials"].sort(reverse=True)
    assert found == expected


def test_the_note_is_read_by_the_dashboard_and_what_the_user_adds_stays(study, url):
    storage = SharedStorage(url)
    write_note(storage, study, "best trial: 1")
    assert get_note(again(url)) == "**hrm_sweep:** best trial: 1"
    save_note(again(url), "**hrm_sweep:** best trial: 1\nthe good one")
    write_note(storage, again(url), "best trial: 2")
    assert get_note(again(url)) == "**hrm_sweep:** best trial: 2\nthe good one"
    save_note(again(url), "mine alone")
    write_note(storage, again(url), "best trial: 3")
    assert get_note(again(url)) == "mine alone"
