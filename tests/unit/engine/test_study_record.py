"""The study's own record, while trials end in whatever order and other sweeps write it."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from studies import STUDY, awaiting, until, written

from hrm_sweep.engine import study_record
from hrm_sweep.runs.record import Record, is_held, read
from hrm_sweep.search.space import Space

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def told() -> list[tuple[int, dict[str, float]]]:
    """Steps and values of the study's own record."""
    entries = [entry for entry in written(STUDY) if entry.event == "metrics"]
    return [(entry.fields["step"], entry.fields["values"]) for entry in entries]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(2, 4, id="the better one ends last"),
        pytest.param(4, 2, id="the better one ends first"),
    ],
)
def test_mlflow_shows_the_best_value_of_the_study(start, first, second):
    """The second trial ends first: the other one waits until that is told."""
    tracked = "hydra.sweeper.tracking.name=mlflow"
    held = (f"+x={first},{second}", awaiting("go", [first]), "hydra.launcher.workers=2")
    sweep = start(*held, tracked)
    until(lambda: any("objective" in values for _, values in told()))
    Path("go").touch()
    assert sweep.ends() == 0, sweep.printed
    client = MlflowClient(f"sqlite:///{Path.cwd()}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("hrm_sweep")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.data.metrics["best/objective"] == 0
    ends = [step for step, values in told() if "objective" in values]
    steps = [step for step, values in told() if "best/objective" in values]
    assert (ends, steps) == ([1, 0], [1, 2, 3])


def test_a_record_that_another_sweep_took_a_moment_ago_is_left_to_it(monkeypatch):
    looks = iter([False])  # what was seen before it was taken
    monkeypatch.setattr(study_record, "is_held", lambda folder: next(looks, is_held(folder)))
    folder = Path("study")
    with Record(folder) as theirs:
        theirs.append("started", kind="study")
        report = study_record.Report(list)
        study_record.StudyRecord(folder, Space(), report, reproduce=str, name="study")
    assert [entry.event for entry in read(folder)] == ["started"]
