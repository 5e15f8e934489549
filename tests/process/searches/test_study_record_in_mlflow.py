"""The study's own record in MLflow, while trials end in whatever order."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from studies import STUDY, awaiting, until, written

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
