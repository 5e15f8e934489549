"""What a sweep and its study in Optuna exchange, on a real database."""

from pathlib import Path

import pytest
from fakes import Database, open_in
from optuna.trial import TrialState

from hrm_sweep.engine.attributes import ATTEMPT, FOLDER, OWNER
from hrm_sweep.engine.open_study import OpenStudy
from hrm_sweep.engine.study_sync import InFlightTrial, StudySync
from hrm_sweep.errors import DatabaseAway
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import Record


def take(sync: StudySync, wanted: int) -> list[InFlightTrial]:
    return sync.commit(reporting=[], ended=[], known=[], wanted=wanted)


def tell(sync: StudySync, *ended: InFlightTrial, wanted: int = 0) -> list[InFlightTrial]:
    return sync.commit(reporting=[], ended=ended, known=ended, wanted=wanted)


def ended(flight: InFlightTrial, outcome: str, **values: float) -> InFlightTrial:
    flight.progress.has_begun = True
    flight.progress.outcome = Outcome.named(outcome)
    flight.progress.values, flight.progress.seconds = values, 1.23456
    return flight


def kept(opened: OpenStudy, number: int = 0) -> dict:
    """User attributes of a trial in Optuna."""
    return opened.study.get_trials()[number].user_attrs


def test_a_trial_is_taken_with_lease_folder_and_attempt(tmp_path):
    opened = open_in(tmp_path, "+a=fixed", "x=5,6")
    (flight,) = take(StudySync(opened), 1)
    assert flight.overrides == ["+a=fixed", "x=5"]
    assert flight.progress.folder == tmp_path / "study" / "0"
    assert kept(opened) == {
        OWNER: opened.lease.fields,
        FOLDER: str(tmp_path / "study" / "0"),
        ATTEMPT: 1,
    }
    states = [trial.state for trial in opened.study.get_trials()]
    assert states == [TrialState.RUNNING, TrialState.WAITING]


def test_the_result_of_a_complete_trial(tmp_path):
    opened = open_in(tmp_path, "x=5", objective="loss", constraints={"size": "<= 2"})
    sync = StudySync(opened)
    (flight,) = take(sync, 1)
    flight.run_id = "abc"
    tell(sync, ended(flight, "complete", loss=0.5, size=3.0, other=1.0))
    (trial,) = opened.study.get_trials()
    assert (trial.state, trial.values) == (TrialState.COMPLETE, [0.5])
    assert trial.constraints == {"size": 1.0}
    told = {key: trial.user_attrs[key] for key in ("outcome", "seconds", "values", "mlflow_run_id")}
    assert told == {
        "outcome": "complete",
        "seconds": 1.235,
        "values": {"loss": 0.5, "size": 3.0, "other": 1.0},
        "mlflow_run_id": "abc",
    }


@pytest.mark.parametrize(
    ("outcome", "attempts", "state", "kept_attempt"),
    [
        pytest.param("pruned", 1, "PRUNED", 1, id="pruned"),
        pytest.param("failed", 1, "FAIL", 1, id="failed"),
        pytest.param("diverged", 1, "FAIL", 1, id="diverged"),
        pytest.param("killed", 1, "WAITING", 1, id="killed once"),
        pytest.param("killed", 2, "FAIL", 2, id="killed for the last time"),
        pytest.param("timed_out", 1, "WAITING", 1, id="timed out"),
        pytest.param("interrupted", 2, "WAITING", 1, id="interrupted: not counted"),
    ],
)
def test_other_ends(tmp_path, outcome, attempts, state, kept_attempt):
    opened = open_in(tmp_path, "x=5", max_attempts=2)
    sync = StudySync(opened)
    (flight,) = take(sync, 1)
    for _ in range(attempts - 1):
        tell(sync, ended(flight, "killed"))
        (flight,) = take(sync, 1)
    assert flight.progress.outcome is None
    tell(sync, ended(flight, outcome))
    (trial,) = opened.study.get_trials()
    assert trial.state.name == state
    assert trial.user_attrs[ATTEMPT] == kept_attempt
    assert trial.user_attrs["outcome"] == outcome


def test_a_trial_that_goes_back_comes_first(tmp_path):
    opened = open_in(tmp_path, "x=1,2,3,4")
    sync = StudySync(opened)
    flights = take(sync, 2)
    taken = tell(sync, ended(flights[1], "killed"), wanted=2)
    assert [flight.progress.number for flight in taken] == [1, 2]
    assert [flight.progress.attempt for flight in taken] == [2, 1]


def test_curves_are_reported_once_and_extended(tmp_path):
    opened = open_in(tmp_path, "x=1", objective="loss")
    sync = StudySync(opened)
    (flight,) = take(sync, 1)
    with Record(flight.progress.folder) as record:
        for step, values in [(1, {"loss": 3.0}), (2, {"other": 9.0}), (3, {"loss": 2.0})]:
            record.metrics(step, values)
            flight.read()
            sync.commit(reporting=[flight], ended=[], known=[flight], wanted=0)
            assert flight.unreported == {}
    flight.unreported = {3: 7.0, 4: 1.0}  # a step that Optuna has stays as it was
    sync.commit(reporting=[flight], ended=[], known=[flight], wanted=0)
    assert opened.study.get_trials()[0].intermediate_values == {1: 3.0, 3: 2.0, 4: 1.0}


def test_a_study_with_several_objectives_has_no_curves(tmp_path):
    opened = open_in(tmp_path, "x=1", objective=["a", "b"], direction=["minimize", "maximize"])
    sync = StudySync(opened)
    (flight,) = take(sync, 1)
    with Record(flight.progress.folder) as record:
        record.metrics(1, {"a": 1.0, "b": 2.0})
    flight.read()
    assert flight.unreported == {}
    tell(sync, ended(flight, "complete", a=1.0, b=2.0))
    assert opened.study.get_trials()[0].values == [1.0, 2.0]


def test_trials_that_another_sweep_has_taken_over_are_left_to_it(tmp_path):
    opened = open_in(tmp_path, "x=1", max_attempts=5)
    sync = StudySync(opened)
    (flight,) = take(sync, 1)
    opened.lease.release()
    heir = open_in(tmp_path, "x=1", max_attempts=5)
    (taken,) = StudySync(heir).recover()
    assert taken.progress.number == 0
    tell(sync, ended(flight, "complete", objective=1.0))
    (trial,) = heir.study.get_trials()
    assert trial.state is TrialState.RUNNING
    assert trial.user_attrs[OWNER] == heir.lease.fields
    assert StudySync(open_in(tmp_path, "x=1")).running_of_others().total() == 1


@pytest.mark.parametrize("confirmed", [True, False], ids=["not made", "made, not confirmed"])
def test_a_commit_that_failed_can_be_repeated(tmp_path, confirmed):
    opened = open_in(tmp_path, "x=1,2,3,4")
    sync, database = StudySync(opened), Database(opened)
    flights = take(sync, 2)
    done = ended(flights[0], "complete", objective=1.0)
    known = [*flights]
    database.leave() if confirmed else database.lose_confirmation()
    with pytest.raises(DatabaseAway):
        sync.commit(reporting=[], ended=[done], known=known, wanted=1)
    database.come_back()
    taken = sync.commit(reporting=[], ended=[done], known=known, wanted=1)
    assert [flight.progress.number for flight in taken] == [2]
    states = [trial.state.name for trial in opened.study.get_trials()]
    assert states == ["COMPLETE", "RUNNING", "RUNNING", "WAITING"]
    assert kept(opened, 2)[ATTEMPT] == 1


def test_finished_trials_come_back_as_progress(tmp_path):
    opened = open_in(tmp_path, "x=1,2")
    sync = StudySync(opened)
    flights = take(sync, 2)
    tell(sync, ended(flights[0], "complete", objective=0.25), ended(flights[1], "failed"))
    first, second = StudySync(open_in(tmp_path, "x=1,2")).finished()
    assert (first.number, first.outcome, first.values) == (0, Outcome.COMPLETE, {"objective": 0.25})
    assert (second.number, second.outcome, second.folder) == (
        1,
        Outcome.FAILED,
        Path(tmp_path, "study", "1"),
    )
