"""Canaries of the private names of Optuna that compat/optuna_cache.py uses."""

import optuna
import pytest
import sqlalchemy
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from hrm_sweep.compat.optuna_cache import TrialCache

SPACE = {"x": FloatDistribution(0, 1)}


@pytest.fixture
def storage(tmp_path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/optuna.db")


@pytest.fixture
def study(storage) -> optuna.Study:
    return optuna.create_study(storage=TrialCache(storage), study_name="study")


def cache_of(study: optuna.Study) -> TrialCache:
    assert isinstance(study._storage, TrialCache), "Optuna keeps a storage that is a cache"
    return study._storage


def test_an_emptied_cache_reads_finished_trials_again(study, storage):
    study.tell(study.ask(), 1.0)
    assert [trial.value for trial in study.get_trials()] == [1.0]
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_values SET value = 2.0")
    assert [trial.value for trial in study.get_trials()] == [1.0], "finished trials are cached"
    cache_of(study).clear()
    assert [trial.value for trial in study.get_trials()] == [2.0]


def test_a_sampler_sees_what_the_database_has(study, storage):
    """Whatever this process and another one do between two proposals."""
    other = optuna.load_study(study_name="study", storage=storage.url)
    optuna.create_study(storage=storage.url, study_name="another").ask(SPACE)
    waiting = optuna.trial.create_trial(
        state=TrialState.WAITING, params={"x": 0.5}, distributions=SPACE
    )

    def pop(_: optuna.Study) -> None:
        other.ask()

    def tell_first_running(teller: optuna.Study) -> None:
        running = teller.get_trials(states=(TrialState.RUNNING,))
        teller.tell(running[0].number, 1.0)

    acts = [
        *([lambda study: study.ask(SPACE)] * 3),
        lambda _: other.ask(SPACE),
        tell_first_running,
        lambda _: tell_first_running(other),
        lambda _: other.add_trial(waiting),
        pop,
        lambda _: other.tell(other.ask(SPACE), 2.0),
        lambda study: study.tell(study.ask(SPACE), state=TrialState.FAIL),
        lambda study: study.ask(SPACE),
    ]
    for act in acts:
        act(study)
        with cache_of(study).sampling():
            seen = [(each.state, each.params, each.values) for each in study.get_trials()]
        fresh = optuna.load_study(study_name="study", storage=storage.url).get_trials()
        assert seen == [(each.state, each.params, each.values) for each in fresh]
    assert study.get_trials() == fresh


def test_a_sampler_does_not_read_running_trials_again(study, storage):
    rows: list[int] = []
    many = [study.ask(SPACE) for _ in range(30)]
    study.tell(many[0], 1.0)
    study.get_trials()

    @sqlalchemy.event.listens_for(storage.engine, "before_cursor_execute")
    def count(_, __, statement, parameters, *___):
        if "trial_params" in statement:
            rows.append(len(parameters))

    with cache_of(study).sampling():
        study.get_trials()
    assert rows == [2], "the newest two"
    study.get_trials()
    assert rows == [2, 29]
