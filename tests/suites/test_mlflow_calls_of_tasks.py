"""What a task does in MLflow by itself belongs to its trial's run, in any launcher and store."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run
from paths import TESTS
from studies import PATIENCE_SECONDS, command
from tracking_server import TrackingServer
from truth import Truth, fresh_database

APP = TESTS / "apps" / "mlflow_calls.py"
TRACKED = "hydra.sweeper.tracking.name=mlflow"

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path_factory.mktemp("server"))
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def study(
    calls: str, *overrides: str, launcher: str = "", fails: bool = False, **environment: str
) -> Truth:
    """Run two trials that make these calls; return what is in MLflow then.

    Args:
        launcher: with its defaults; none is a pool of one worker, as each imports MLflow.
    """
    where = f"hydra/launcher={launcher}" if launcher else "hydra.launcher.workers=1"
    done = subprocess.run(
        command("+x=1,2", f"+calls={calls}", TRACKED, where, *overrides, app=APP),
        env={**os.environ, **environment},
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert fails or "2 complete" in done.stdout
    assert "not in MLflow" not in done.stdout
    return Truth(f"sqlite:///{Path.cwd()}/mlruns/mlflow.db")


def parent(truth: Truth, run: Run) -> str | None:
    """Name of the run that MLflow has as the parent."""
    run_id = run.data.tags.get("mlflow.parentRunId")
    return truth.client.get_run(run_id).info.run_name if run_id else None


def parents(truth: Truth, experiment: str = "hrm_sweep") -> dict[str, str | None]:
    """Each run of an experiment, by name, and its parent."""
    made = truth.client.get_experiment_by_name(experiment)
    runs = truth.client.search_runs([made.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    return {run.info.run_name: parent(truth, run) for run in runs}


FAMILY = {
    "study": None,
    "0 x=1": "study",
    "1 x=2": "study",
    "outer 1": "0 x=1",
    "outer 2": "1 x=2",
    "inner 1": "outer 1",
    "inner 2": "outer 2",
}


@pytest.mark.parametrize("launcher", ["pool", "basic", "joblib"])
def test_runs_of_a_task_are_children_of_the_trials_run(launcher):
    truth = study("runs_of_its_own", "hydra.job.chdir=true", launcher=launcher)
    assert parents(truth) == FAMILY
    assert not Path("multirun/study/0/mlruns").exists()


@pytest.mark.parametrize("launcher", ["pool", "basic"])
def test_they_are_on_a_server_too(server, launcher):
    study(
        "runs_of_its_own",
        f"hydra.sweeper.tracking.uri=http://127.0.0.1:{server.port}",
        launcher=launcher,
        MLFLOW_EXPERIMENT_NAME=launcher,
    )
    assert parents(server, launcher) == FAMILY


@pytest.mark.parametrize("launcher", ["pool", "basic"])
def test_a_run_that_is_left_open_ends_with_its_trial(launcher):
    truth = study("left_open", launcher=launcher, fails=True)
    left = {
        parent(truth, run): run.info.status for run in truth.runs() if "height" in run.data.metrics
    }
    assert left == {"0 x=1": "FINISHED", "1 x=2": "FAILED"}


@pytest.mark.parametrize("launcher", ["pool", "basic"])
def test_autolog_writes_into_the_trials_run(launcher):
    truth = study("autolog", launcher=launcher)
    assert parents(truth) == {"study": None, "0 x=1": "study", "1 x=2": "study"}
    for name, x in (("0 x=1", 1), ("1 x=2", 2)):
        run = truth.run(name)
        assert run.data.params["alpha"] == str(x)
        assert "training_score" in run.data.metrics
        assert run.data.metrics["best/objective"] == x
        assert run.data.tags["hrm_sweep.outcome"] == "complete"


def test_a_killed_trial_continues_in_the_same_run():
    truth = study("killed_once")
    assert sorted(run.info.run_name for run in truth.runs()) == ["0 x=1", "1 x=2", "study"]
    for name in ("0 x=1", "1 x=2"):
        run = truth.run(name)
        assert {"attempt 0", "attempt 1"} <= run.data.metrics.keys()
        assert (run.info.status, run.data.tags["hrm_sweep.attempt"]) == ("FINISHED", "2")


def test_repeats_have_runs_of_their_own():
    truth = study("runs_of_its_own", "+seed=0", "hydra.sweeper.repeats=2")
    outer = [run for run in truth.runs() if run.info.run_name == "outer 2"]
    assert sorted(parent(truth, run) for run in outer) == ["1.0 seed=0", "1.1 seed=1"]


def test_files_of_a_task_are_beside_those_of_ours(tmp_path):
    truth = study("artifact", "hydra.sweeper.tracking.experiment=new", "hydra.job.chdir=true")
    (experiment,) = (each for each in truth.client.search_experiments() if each.name == "new")
    assert experiment.artifact_location == f"file://{tmp_path}/mlruns/artifacts"


def test_a_new_experiment_in_an_old_database_keeps_its_files_there_too(tmp_path):
    study("artifact")
    another = ("hydra.sweeper.study_name=another", "hydra.sweep.dir=multirun/another")
    experiment = "hydra.sweeper.tracking.experiment=new"
    truth = study("artifact", *another, experiment, "hydra.job.chdir=true")
    made = truth.client.get_experiment_by_name("new")
    assert made.artifact_location == f"file://{tmp_path}/mlruns/artifacts"


def test_an_address_that_the_user_gives_to_the_job_is_left_alone(tmp_path):
    own = fresh_database(tmp_path / "own")
    truth = study("runs_of_its_own", f"+hydra.job.env_set.MLFLOW_TRACKING_URI={own}")
    assert set(parents(truth)) == {"study", "0 x=1", "1 x=2"}
    assert parents(Truth(own), "Default") == {
        "outer 1": None, "outer 2": None, "inner 1": "outer 1", "inner 2": "outer 2"
    }  # fmt: skip


def test_a_relative_address_of_the_shell_is_that_of_the_folder_of_the_command():
    study(
        "runs_of_its_own",
        "hydra.job.chdir=true",
        MLFLOW_TRACKING_URI="sqlite:///mine.db",
        MLFLOW_EXPERIMENT_NAME="theirs",
    )
    assert parents(Truth(f"sqlite:///{Path.cwd()}/mine.db"), "theirs") == FAMILY


def test_an_experiment_that_is_typed_has_precedence_for_our_runs():
    chosen = "hydra.sweeper.tracking.experiment=typed"
    truth = study("runs_of_its_own", chosen, MLFLOW_EXPERIMENT_NAME="theirs")
    assert set(parents(truth, "typed")) == {"study", "0 x=1", "1 x=2"}
    assert parents(truth, "theirs")["outer 1"] == "0 x=1"


def test_without_tracking_nothing_is_set():
    done = subprocess.run(
        command("+x=1", "+calls=runs_of_its_own", app=APP),
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(parents(Truth(f"sqlite:///{Path.cwd()}/mlflow.db"), "Default")) == {
        "outer 1",
        "inner 1",
    }
