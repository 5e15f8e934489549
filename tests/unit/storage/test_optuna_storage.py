"""Optuna's storage as several processes share it: whole transactions, trials that wait again."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from hrm_sweep.compat.optuna import study_id
from hrm_sweep.errors import DatabaseAway, StudyError
from hrm_sweep.storage import database
from hrm_sweep.storage.optuna_storage import SharedStorage, existing_study
from hrm_sweep.system.sqlite_urls import url_of

X = {"x": FloatDistribution(0, 1)}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/optuna.db"


@pytest.fixture
def storage(url: str) -> SharedStorage:
    return SharedStorage(url)


@pytest.fixture
def study(storage: SharedStorage) -> optuna.Study:
    return storage.open_study("otter", ["minimize"])


def fresh(url: str) -> optuna.Study:
    """The study as another process reads it, by Optuna's own means."""
    return optuna.load_study(study_name="otter", storage=url)


def test_what_is_done_in_a_transaction_is_there_as_a_whole(storage, study, url):
    with storage.exclusive_transaction("otter"):
        trial = study.ask(X)
        storage.set_user_attrs(trial, {"folder": "multirun/otter/0", "attempt": 1})
        study.tell(trial, 0.5)
    (kept,) = fresh(url).trials
    assert kept.state is TrialState.COMPLETE
    assert kept.user_attrs == {"folder": "multirun/otter/0", "attempt": 1}


def test_a_transaction_that_fails_leaves_nothing(storage, study, url):
    def stop_half_way() -> None:
        with storage.exclusive_transaction("otter"):
            study.tell(study.ask(X), 0.5)
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        stop_half_way()
    assert fresh(url).trials == []
    assert study.trials == []


@pytest.mark.parametrize(
    ("refused", "raises"),
    [
        pytest.param(lambda study: study._storage.get_trial(99), KeyError, id="no such trial"),
        pytest.param(
            lambda study: optuna.create_study(storage=study._storage, study_name="otter"),
            optuna.exceptions.DuplicatedStudyError,
            id="a name that is taken",
        ),
        pytest.param(lambda study: study.tell(0, 1.0), ValueError, id="a trial that ended before"),
    ],
)
def test_an_error_that_the_block_catches_leaves_what_was_done_before(
    storage, study, url, refused, raises
):
    study.tell(study.ask(X), 0.25)
    with storage.exclusive_transaction("otter"):
        study.tell(study.ask(X), 0.5)
        with pytest.raises(raises):
            refused(study)
        study.tell(study.ask(X), 0.75)
    assert [trial.value for trial in fresh(url).trials] == [0.25, 0.5, 0.75]


def test_another_thread_is_no_part_of_a_transaction(storage, study):
    with storage.exclusive_transaction("otter"), ThreadPoolExecutor(1) as other:
        study.ask(X)
        assert other.submit(storage.get_n_trials, study_id(study)).result() == 0
    assert storage.get_n_trials(study_id(study)) == 1


def test_who_reads_does_not_wait_for_who_writes(storage, study, url):
    study.ask(X)
    with storage.exclusive_transaction("otter"):
        study.ask(X)
        assert len(SharedStorage(url).get_all_trials(study_id(study))) == 1


def test_an_unpickled_storage_queues_with_the_others(url, monkeypatch):
    monkeypatch.setattr(database, "SECONDS_FOR_A_WRITER", 0)
    storage = SharedStorage(url)
    copy = pickle.loads(pickle.dumps(storage))
    with (
        storage.exclusive_transaction("otter"),
        pytest.raises(DatabaseAway, match="locked"),
        copy.exclusive_transaction("otter"),
    ):
        pass


def test_a_trial_that_waits_again_keeps_its_number_params_and_curve(storage, study, url):
    trial = study.ask(X)
    trial.report(3.0, 1)
    storage.requeue(trial)
    (waiting,) = fresh(url).trials
    assert waiting.state is TrialState.WAITING
    assert (waiting.number, waiting.params) == (trial.number, trial.params)
    assert waiting.intermediate_values == {1: 3.0}


def test_a_waiting_trial_is_started_once(storage, study):
    trial = study.ask(X)
    storage.requeue(trial)
    started = storage.start(study, trial._trial_id)
    assert started is not None
    assert started.number == trial.number
    assert storage.start(study, trial._trial_id) is None


def test_only_steps_that_a_curve_lacks_are_added(storage, study, url):
    trial = study.ask(X)
    trial.report(3.0, 1)
    storage.report(trial, {1: 9.0, 2: 2.0})
    (kept,) = fresh(url).trials
    assert kept.intermediate_values == {1: 3.0, 2: 2.0}


def test_a_step_that_the_table_cannot_hold_is_left_out(storage, study, url):
    trial = study.ask(X)
    storage.report(trial, {1: 3.0, 10**20: 2.0, 2**63 - 1: 1.0})
    (kept,) = fresh(url).trials
    assert kept.intermediate_values == {1: 3.0, 2**63 - 1: 1.0}


def test_attributes_of_a_trial_have_no_secrets(storage, study, url):
    storage.set_user_attrs(study.ask(X), {"reason": "password=c4n4ry", "attempt": 1})
    assert fresh(url).trials[0].user_attrs == {"reason": "password=***", "attempt": 1}


def test_looking_for_a_study_creates_nothing(url, tmp_path):
    assert existing_study(url, "otter") is None
    assert [*tmp_path.iterdir()] == []


def test_a_study_is_found_by_its_name(study, url):
    found = existing_study(url, "otter")
    assert found is not None
    assert found.study_name == study.study_name
    assert existing_study(url, "weasel") is None


def test_a_study_keeps_its_direction(storage, study):
    with pytest.raises(StudyError, match="study otter was made to minimize"):
        storage.open_study("otter", ["maximize"])


def test_a_removed_study_is_gone_and_may_be_removed_again(storage, study, url):
    with storage.removing_study("otter"):
        pass
    with storage.removing_study("otter"):
        pass
    assert optuna.get_all_study_names(url) == []


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41b", "a b;&", "{SCHEMA_VERSION}{}"])
def test_a_database_lies_in_a_folder_of_any_name(tmp_path, name):
    url = url_of(tmp_path / name / "optuna.db")
    (tmp_path / name).mkdir()
    SharedStorage(url).open_study("otter", ["minimize"])
    found = existing_study(url, "otter")
    assert found is not None
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "optuna.db").exists()
