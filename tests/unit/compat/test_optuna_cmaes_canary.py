"""CMA-ES continues from its state in the database, and from nothing else that is there."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import CmaEsSampler

from hrm_sweep.compat.optuna import trial_id
from hrm_sweep.compat.optuna_cmaes import restrict_unpickling
from hrm_sweep.errors import StudyError


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1) ** 2 + trial.suggest_float("y", 0, 1, step=0.25)


@pytest.fixture
def study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    restrict_unpickling()
    return optuna.create_study(sampler=CmaEsSampler(seed=1))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="CMA"),
        pytest.param({"use_separable_cma": True}, id="SepCMA"),
        pytest.param({"with_margin": True}, id="CMAwM"),
        pytest.param({"lr_adapt": True}, id="adapted rate"),
    ],
)
def test_its_own_states_are_loaded(study, options):
    study.sampler = CmaEsSampler(seed=1, **options)
    study.optimize(objective, n_trials=20)
    states = [
        trial for trial in study.trials if any("optimizer" in key for key in trial.system_attrs)
    ]
    assert len(states) >= 2


def test_what_could_run_a_program_is_refused(study, tmp_path):
    study.optimize(objective, n_trials=3)
    key = f"{study.sampler._attr_key_optimizer}:0"
    evil = pickle.dumps(Touch(tmp_path / "run")).hex()
    for trial in study.trials:
        study._storage._get_trial(trial_id(trial)).system_attrs[key] = evil
    with pytest.raises(StudyError, match=r"^hydra/sweeper/sampler: .* could run any program"):
        study.ask({"x": optuna.distributions.FloatDistribution(0, 1),
                   "y": optuna.distributions.FloatDistribution(0, 1, step=0.25)})  # fmt: skip
    assert not (tmp_path / "run").exists()
