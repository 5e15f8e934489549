"""Canary of Optuna's tables: what compat/optuna_trial.py reads of a trial is what Optuna reads."""

import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState

from hrm_sweep.compat.optuna import trial_id
from hrm_sweep.compat.optuna_trial import read_trial


@pytest.mark.parametrize("state", TrialState)
def test_a_trial_is_the_one_that_optuna_reads(tmp_path, state):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/optuna.db")
    study = optuna.create_study(storage=storage, directions=["minimize", "maximize"])
    is_complete = state is TrialState.COMPLETE
    study.add_trial(
        optuna.trial.create_trial(
            state=state,
            values=[math.inf, 0.5] if is_complete else None,
            params={"y": True, "x": 3},
            distributions={"y": CategoricalDistribution(["s", True]), "x": IntDistribution(0, 9)},
            user_attrs={"b": [1], "a": {"c": None}},
            system_attrs={"fixed_params": {"x": 3}},
            intermediate_values={2: 0.25, 1: -math.inf, 3: math.inf},
        )
    )
    (trial,) = study.get_trials()
    with storage.engine.begin() as connection:
        read = read_trial(connection, trial_id(trial))
        with pytest.raises(KeyError, match="no trial has the id 99"):
            read_trial(connection, 99)
    optunas = storage.get_trial(trial_id(trial))
    assert read == optunas
    assert (list(read.params), list(read.distributions)) == (["y", "x"], ["y", "x"])
