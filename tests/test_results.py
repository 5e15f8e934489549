"""The study's own record, while trials end in whatever order and other sweeps write it."""

import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient
from test_study import command

from hrm_sweep.study import results
from hrm_sweep.tracking.record import Record, is_held, read

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.mark.parametrize(
    ("space", "best"),
    [
        pytest.param(["+x=zip(2,4)", "+pause=zip(0.2,0)"], 0, id="the better one ends last"),
        pytest.param(["+x=zip(4,2)", "+pause=zip(0.2,0)"], 0, id="the better one ends first"),
    ],
)
def test_mlflow_shows_the_best_value_of_the_study(space, best):
    tracked = "hydra.sweeper.tracking.name=mlflow"
    done = subprocess.run(
        command(*space, tracked, "hydra.launcher.workers=2"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    client = MlflowClient(f"sqlite:///{Path.cwd()}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("hrm_sweep")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.data.metrics["best/objective"] == best
    told = [entry for entry in read(Path("multirun/study")) if entry.event == "metrics"]
    ends = [entry.fields["step"] for entry in told if "objective" in entry.fields["values"]]
    steps = [entry.fields["step"] for entry in told if "best/objective" in entry.fields["values"]]
    assert (ends, steps) == ([1, 0], [1, 2, 3])


def test_a_record_that_another_sweep_took_a_moment_ago_is_left_to_it(monkeypatch):
    looks = iter([False])  # what was seen before it was taken
    monkeypatch.setattr(results, "is_held", lambda folder: next(looks, is_held(folder)))
    folder = Path("study")
    with Record(folder) as theirs:
        theirs.append("started", kind="study")
        results.Results(folder, draw=list, again=str, name="study")
    assert [entry.event for entry in read(folder)] == ["started"]
