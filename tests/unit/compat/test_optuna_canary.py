"""Canaries of the private names of Optuna that compat/optuna.py uses."""

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, FloatDistribution

from hrm_sweep.compat import optuna as compat


@pytest.fixture
def study(tmp_path) -> optuna.Study:
    storage = f"sqlite:///{tmp_path}/optuna.db"
    optuna.create_study(storage=storage, study_name="another").add_trial(
        optuna.trial.create_trial(value=1.0)
    )
    return optuna.create_study(storage=storage, study_name="study")


def test_ids_are_those_of_the_storage(study):
    asked = study.ask()
    storage = optuna.storages.get_storage(asked.storage)
    assert compat.study_id(study) == storage.get_study_id_from_name("study") == 2
    expected = storage.get_trial_id_from_study_id_trial_number(compat.study_id(study), 0)
    assert compat.trial_id(asked) == expected == 2
    assert compat.trial_id(study.get_trials()[0]) == expected


def test_an_enqueued_trial_has_the_attributes_that_optuna_gives_it(study):
    point = {"x": 0.25, "y": "a"}
    study.enqueue_trial(point)
    (waiting,) = study.get_trials()
    assert waiting.system_attrs == compat.enqueued_attrs(point)
    assert compat.fixed_params(waiting) == point


def test_trials_are_read_by_their_ids(study):
    for value in (0.25, 0.5, 0.75):
        study.tell(study.ask({"x": FloatDistribution(0, 1)}), value)
    trials = compat.all_trials(study)
    assert trials == study.get_trials()
    ids = {compat.trial_id(trial) for trial in trials[:2]}
    assert compat.read_trials(study._storage._backend, compat.study_id(study), ids) == trials[:2]


def test_suggest_takes_the_enqueued_value_or_samples_one(study):
    study.enqueue_trial({"x": 0.25})
    trial = study.ask()
    assert compat.suggest(trial, "x", FloatDistribution(0, 1)) == 0.25
    assert 5 <= compat.suggest(trial, "y", FloatDistribution(5, 6)) <= 6
    assert study.get_trials()[0].params.keys() == {"x", "y"}


def test_suggest_refuses_an_enqueued_value_that_the_distribution_does_not_have(study):
    study.enqueue_trial({"x": "c"})
    with pytest.raises(ValueError, match="c"):
        compat.suggest(study.ask(), "x", CategoricalDistribution(["a", "b"]))


def test_an_emptied_trial_cache_reads_finished_trials_again(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/cached.db")
    cache = compat.with_trial_cache(storage)
    study = optuna.create_study(storage=cache, study_name="study")
    study.tell(study.ask(), 1.0)
    assert [trial.value for trial in study.get_trials()] == [1.0]
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_values SET value = 2.0")
    assert [trial.value for trial in study.get_trials()] == [1.0], "finished trials are cached"
    compat.clear_trial_cache(cache, storage)
    assert [trial.value for trial in study.get_trials()] == [2.0]


def test_methods_that_are_said_to_read_change_nothing(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/read.db")
    study = optuna.create_study(storage=storage, study_name="study")
    trial = study.ask({"x": FloatDistribution(0, 1)})
    study.tell(trial, 1.0)
    of_study, of_trial = compat.study_id(study), compat.trial_id(trial)

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def refuse_writes(connection, _):
        connection.execute("PRAGMA query_only = ON")

    storage.engine.dispose()
    arguments = {
        "get_study_id_from_name": ("study",),
        "get_all_studies": (),
        "get_trial": (of_trial,),
        "get_trial_user_attrs": (of_trial,),
        "get_trial_system_attrs": (of_trial,),
        "get_trial_param": (of_trial, "x"),
        "get_trial_id_from_study_id_trial_number": (of_study, 0),
        "_get_trials": (of_study, None, set(), -1),
        "_get_best_trial_id": (of_study, study.direction),
    }
    for name in compat.READS:
        getattr(storage, name)(*arguments.get(name, (of_study,)))
    with pytest.raises(optuna.exceptions.StorageInternalError):
        storage.set_study_user_attr(of_study, "key", "value")
