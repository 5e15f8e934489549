"""Canaries of Optuna's tables: what compat/optuna_tables.py writes, Optuna's own methods read."""

import math

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState

from hrm_sweep.compat import optuna_tables as tables
from hrm_sweep.compat.optuna import study_id, trial_id


@pytest.fixture
def storage(tmp_path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/optuna.db")


@pytest.fixture
def study(storage) -> optuna.Study:
    return optuna.create_study(storage=storage, study_name="study")


def test_waiting_trials_are_those_that_optuna_adds(study, storage):
    space = {"x": IntDistribution(0, 9), "size": CategoricalDistribution(["s", "m", True])}
    points = [{"x": 3, "size": "m"}, {"x": 0, "size": True}, {"x": 9}, {}]
    study.add_trial(optuna.trial.create_trial(value=0.5))
    with storage.scoped_session() as session:
        tables.add_waiting_trials(session, study_id(study), points, space)
        session.commit()
    for point in points:
        known = {name: space[name] for name in point}
        waiting = optuna.trial.create_trial(
            state=TrialState.WAITING, params=point, distributions=known
        )
        study.add_trial(waiting)
    _, *trials = study.get_trials()
    ours, optunas = trials[: len(points)], trials[len(points) :]
    assert [trial.number for trial in trials] == list(range(1, 9))
    for one, other in zip(ours, optunas, strict=True):
        one.number, one._trial_id = other.number, other._trial_id
        assert one == other


def test_a_study_is_found_by_its_new_name(study, storage):
    study.set_user_attr("kept", 1)
    with storage.engine.begin() as connection:
        tables.rename_study(connection, study_id(study), "renamed")
    renamed = optuna.load_study(storage=storage, study_name="renamed")
    assert renamed.user_attrs == {"kept": 1}
    with pytest.raises(KeyError):
        optuna.load_study(storage=storage, study_name="study")


def test_intermediate_values_are_added_where_steps_lack(study, storage):
    trial = study.ask()
    trial.report(0.5, 1)
    with storage.engine.begin() as connection:
        curve = {1: 9.0, 2: 0.25, 3: math.inf, 4: -math.inf, 5: math.nan}
        tables.add_intermediate_values(connection, trial_id(trial), curve)
        tables.add_intermediate_values(connection, trial_id(trial), curve)
    (read,) = study.get_trials()
    expected = {1: 0.5, 2: 0.25, 3: math.inf, 4: -math.inf, 5: math.nan}
    assert read.intermediate_values == pytest.approx(expected, nan_ok=True)


def test_a_running_trial_is_the_one_that_optuna_asks_for(study, storage):
    study.enqueue_trial({"x": 3})
    asked = study.ask({"x": IntDistribution(0, 9), "y": CategoricalDistribution(["s", True])})
    asked.set_user_attr("folder", "a")
    (optunas,) = study.get_trials()
    with storage.engine.begin() as connection:
        added = tables.add_running_trial(connection, study_id(study), optunas)
    ours = study.get_trials()[1]
    assert added == (trial_id(ours), 1)
    began = ours.datetime_start - optunas.datetime_start
    assert abs(began.total_seconds()) < 600  # in the same time zone
    ours.number, ours._trial_id, ours.datetime_start = 0, trial_id(asked), optunas.datetime_start
    assert ours == optunas


@pytest.mark.parametrize("many", [1000, 0], ids=["few ids", "many ids"])
def test_states_are_those_of_the_trials(study, storage, monkeypatch, many):
    monkeypatch.setattr(tables, "MANY", many)
    optuna.create_study(storage=storage).ask()
    for state in (TrialState.FAIL, TrialState.WAITING, TrialState.RUNNING, TrialState.WAITING):
        study.add_trial(optuna.trial.create_trial(state=state))
    expected = {trial_id(trial): trial.state for trial in study.get_trials()[1:]}
    ids = sorted(expected)
    with storage.engine.connect() as connection:
        found = tables.states_of_trials(connection, study_id(study), ids[:1], above=ids[1] - 1)
    assert found == expected


def test_user_attributes_are_set_and_replaced(study, storage):
    trial = study.ask()
    trial.set_user_attr("kept", 1)
    trial.set_user_attr("replaced", {"a": [1]})
    with storage.engine.begin() as connection:
        attrs = {"replaced": None, "new": "x"}
        tables.set_user_attrs(connection, trial_id(trial), attrs)
    assert study.get_trials()[0].user_attrs == {"kept": 1, "replaced": None, "new": "x"}


def test_user_attributes_are_those_of_running_trials(study, storage):
    trials = [study.ask() for _ in range(3)]
    for trial in trials:
        trial.set_user_attr("number", [trial.number])
    study.tell(trials[1], state=TrialState.FAIL)
    with storage.engine.begin() as connection:
        ids = [trial_id(trial) for trial in trials[:2]]
        found = tables.user_attrs_of_running(connection, ids)
    assert found == {0: {"number": [0]}}


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        pytest.param(
            CategoricalDistribution(["a", "b"]),
            CategoricalDistribution(["c", "b", "a"]),
            "a",
            id="other indices",
        ),
        pytest.param(IntDistribution(1, 8), IntDistribution(1, 80, log=True), 4, id="wider"),
    ],
)
def test_distributions_are_replaced_and_values_stay(study, storage, old, new, value):
    study.add_trial(
        optuna.trial.create_trial(params={"x": value}, distributions={"x": old}, value=1.0)
    )
    other = optuna.create_study(storage=storage, study_name="other")
    other.add_trial(
        optuna.trial.create_trial(params={"x": value}, distributions={"x": old}, value=1.0)
    )
    with storage.scoped_session() as session:
        tables.replace_distributions(session, study_id(study), {"x": new})
        session.commit()
    (read,), (untouched,) = study.get_trials(), other.get_trials()
    assert (read.params, read.distributions) == ({"x": value}, {"x": new})
    assert untouched.distributions == {"x": old}


def test_a_study_is_found_by_name_also_without_tables(study, storage, tmp_path):
    with storage.engine.connect() as connection:
        assert tables.has_study(connection, "study")
        assert not tables.has_study(connection, "other")
    with sqlalchemy.create_engine(f"sqlite:///{tmp_path}/empty.db").connect() as connection:
        assert not tables.has_study(connection, "study")


def test_a_reopened_trial_is_as_one_that_was_never_told(study, storage):
    first, second = study.ask(), study.ask()
    for trial in (first, second):
        trial.report(0.5, 1)
        trial.set_user_attr("kept", 1)
        study.tell(trial, 2.0)
    with storage.scoped_session() as session:
        tables.reopen(session, trial_id(first), TrialState.RUNNING)
        session.commit()
    again, other = optuna.load_study(study_name="study", storage=storage.url).get_trials()
    assert (again.state, again.values, again.intermediate_values) == (TrialState.RUNNING, None, {})
    assert (again.user_attrs, again.datetime_complete) == ({"kept": 1}, None)
    assert (other.state, other.values) == (TrialState.COMPLETE, [2.0])
    study.tell(first.number, 3.0)
    assert optuna.load_study(study_name="study", storage=storage.url).get_trials()[0].value == 3.0
