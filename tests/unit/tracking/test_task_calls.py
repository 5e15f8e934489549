"""What a job finds in its environment, and the run of a trial as its task asks for it."""

from __future__ import annotations

import os
import threading

import mlflow
import pytest
from truth import Truth, fresh_database

from hrm_sweep.errors import Interrupted, TrackingError
from hrm_sweep.runs import export_state
from hrm_sweep.runs import handle as trial
from hrm_sweep.tracking.client import connect
from hrm_sweep.tracking.exporter import Exporter
from hrm_sweep.tracking.run_context import TrialContext
from hrm_sweep.tracking.task_calls import EXPERIMENT, EXPERIMENT_ID, URI, Tracking, joined

STARTED = {"kind": "trial", "name": "0", "params": {}, "tags": {}, "description": ""}
OURS = Tracking("sqlite:////home/me/mlruns/mlflow.db", "ours", "sqlite:///mlruns/mlflow.db")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({}, {URI: OURS.uri, EXPERIMENT: "ours"}, id="nothing is set"),
        pytest.param({URI: ""}, {URI: OURS.uri, EXPERIMENT: "ours"}, id="set to nothing"),
        pytest.param({URI: OURS.given_uri}, {URI: OURS.uri, EXPERIMENT: "ours"}, id="relative"),
        pytest.param({URI: "http://their:5000"}, {}, id="another address"),
        pytest.param({EXPERIMENT: "theirs"}, {URI: OURS.uri}, id="another experiment"),
        pytest.param({EXPERIMENT_ID: "7"}, {URI: OURS.uri}, id="an experiment by its id"),
    ],
)
def test_what_the_user_has_set_is_left_alone(environment, expected):
    assert OURS.variables(environment) == expected


@pytest.fixture
def tracking(tmp_path, monkeypatch) -> Tracking:
    for name in (URI, EXPERIMENT, EXPERIMENT_ID):
        monkeypatch.delenv(name, raising=False)
    return Tracking.at(fresh_database(tmp_path / "mlflow"), "ours")


@pytest.fixture
def exporter(tmp_path, tracking):
    """An exporter that works on the folder `0` beside the test, as one beside a study does."""
    ended = threading.Event()
    connect(tracking.uri, "ours")  # before any task, as the exporter of a study does
    sent = Exporter(tmp_path / "0", tracking_uri=tracking.uri, experiment="ours")

    def work() -> None:
        while not ended.wait(0.02):
            sent.step()

    thread = threading.Thread(target=work)
    thread.start()
    yield sent
    ended.set()
    thread.join()
    sent.close()


def test_each_attempt_has_the_run_that_the_exporter_has_made(tmp_path, tracking, exporter):
    seen = []
    for _ in range(2):
        with trial.session(tmp_path / "0", **STARTED) as handle:
            assert handle.mlflow_run_id is None, "it is not tracked yet"
            with joined(tracking, handle), mlflow.start_run(run_id=handle.mlflow_run_id) as run:
                seen.append(run.info.run_id)
                mlflow.log_metric("theirs", len(seen), step=len(seen))
    (run,) = Truth(tracking.uri).runs()
    assert seen == [run.info.run_id] * 2
    rows = [row[:3] for row in Truth(tracking.uri).metrics("0") if row[0] == "theirs"]
    assert rows == [("theirs", 1, 1.0), ("theirs", 2, 2.0)]


def test_a_run_that_the_task_leaves_open_ends_with_it(tmp_path, tracking, exporter):
    def task() -> None:
        mlflow.log_metric("theirs", 1)
        raise ValueError("raised")

    with (
        pytest.raises(ValueError, match="raised"),
        trial.session(tmp_path / "0", **STARTED) as handle,
        joined(tracking, handle),
    ):
        task()
    assert mlflow.active_run() is None
    assert not {URI, EXPERIMENT} & os.environ.keys()
    runs = Truth(tracking.uri).runs()
    assert [run.info.status for run in runs if "theirs" in run.data.metrics] == ["FAILED"]


def test_the_parent_of_new_runs_is_the_trials_run(tmp_path, tracking, exporter):
    plugin = TrialContext()
    assert not plugin.in_context()
    with trial.session(tmp_path / "0", **STARTED) as handle:
        assert not plugin.in_context()
        with joined(tracking, handle):
            assert plugin.in_context()
            assert plugin.tags() == {"mlflow.parentRunId": handle.mlflow_run_id}
        assert Truth(tracking.uri).run("0").info.run_id == handle.mlflow_run_id


def test_runs_in_another_mlflow_have_no_parent_here(tmp_path, tracking, monkeypatch):
    monkeypatch.setenv(URI, "http://their:5000")
    with trial.session(tmp_path / "0", **STARTED) as handle, joined(tracking, handle):
        assert not TrialContext().in_context()


def test_a_run_that_mlflow_never_has_is_an_error(tmp_path, tracking, monkeypatch):
    monkeypatch.setattr(export_state, "SECONDS_TO_APPEAR", 0.1)
    with trial.session(tmp_path / "0", **STARTED) as handle, joined(tracking, handle):
        with pytest.raises(TrackingError, match=r"0: its run is not in MLflow after 0\.1 s; "):
            _ = handle.mlflow_run_id
        before = trial.set_stop_check(lambda: True)
        try:
            with pytest.raises(Interrupted, match="stopped while it waited"):
                _ = handle.mlflow_run_id
        finally:
            trial.set_stop_check(before)


def test_outside_a_study_there_is_no_run():
    assert trial.current().mlflow_run_id is None
