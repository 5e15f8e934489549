"""The examples of docs/frameworks.md run as studies."""

import re
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient
from paths import ROOT
from studies import PATIENCE_SECONDS, command

PAGE = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
APPS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
OVERRIDES = {
    "lightning": ("+lr=0.1,0.2", "hydra.sweeper.objective=val/loss"),
    "transformers": ("+lr=1e-4,1e-3", "hydra.sweeper.objective=eval_loss"),
    "log_metrics": ("+x=1,2",),
    "mlflow": ("+alpha=1,2", "hydra.sweeper.tracking.name=mlflow"),
}


def test_every_example_has_a_study():
    assert len(APPS) == len(OVERRIDES)


@pytest.mark.parametrize(("app", "what"), zip(APPS, OVERRIDES, strict=True), ids=OVERRIDES)
def test_an_example_runs(app, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert what in app
    Path("app.py").write_text(app)
    done = subprocess.run(
        command(*OVERRIDES[what], app=Path("app.py")),
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 complete" in done.stdout
    if what == "mlflow":
        client = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
        experiment = client.get_experiment_by_name("hrm_sweep")
        runs = client.search_runs([experiment.experiment_id])
        assert len(runs) == 5  # the study, its trials, and a run of each trial's own
