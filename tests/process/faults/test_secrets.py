"""Nothing that the tool writes has a secret in it, however the app says it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from studies import APP, Sweep, command, until

CANARY, TOKEN = "c4n4ry-Sesame", "t0k3n-c4n4ry"
SIGN = "c4n4ry"
LEAKY = APP.with_name("leaky.py")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with secrets in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    return tmp_path


def leaks(folder: Path) -> list[str]:
    """Files with a secret in them: logs, records, databases, artifacts."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if SIGN.encode() in path.read_bytes()]


@pytest.mark.parametrize("launcher", ["pool", "basic"])
def test_of_a_study_is_in_any_file(project, launcher):
    typed = command(
        *(f"hydra/launcher={launcher}", "hydra.sweeper.tracking.name=mlflow"),
        *("x=0,1", "hydra.sweeper.max_failure_rate=null", "hydra.sweeper.repeats=1"),
        app=LEAKY,
    )
    done = subprocess.run(typed, capture_output=True, text=True, check=False)
    assert "1 complete, 1 failed" in done.stdout, done.stdout + done.stderr
    logs = list(project.glob("multirun/study/*/*.log"))
    assert "password=***" in "".join(path.read_text() for path in logs)
    assert len(list(project.glob("mlruns/artifacts/*/artifacts/traceback.txt"))) == 1
    assert leaks(project) == []


def test_of_a_single_run_is_in_any_file(project):
    subprocess.run([sys.executable, str(LEAKY), "x=1"], capture_output=True, check=False)
    assert leaks(project / "multirun") == []


def test_of_a_trial_that_was_killed_stays_in_its_log(project):
    typed = command("x=2", "hydra.sweeper.max_attempts=1", app=LEAKY)
    sweep = Sweep(typed, project / "printed")
    until((project / "said").exists)
    sweep.signal(signal.SIGKILL)
    sweep.ends()
    assert leaks(project / "multirun") != []
    command_line = [sys.executable, "-m", "hrm_sweep", "sync", "multirun/study"]
    subprocess.run([*command_line, "--to", "sqlite:///mlruns/mlflow.db"], check=True)
    assert leaks(project) == []
