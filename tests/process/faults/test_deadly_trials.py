"""Trials that take their sweep with them, as one does that lets its machine run out of memory."""

import signal
import subprocess
from pathlib import Path

import pytest
from studies import PATIENCE_SECONDS, STUDY, command, study

from hrm_sweep.runs.run import Run

APP = """
import os, signal, time
import hydra
from hrm_sweep import trial

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    folder = trial.current().folder
    begun = folder / "begun"
    begun.write_text((begun.read_text() if begun.exists() else "") + "x")
    attempt = len(begun.read_text())
    if cfg.x == 1:
        for step in range(1, 1 + eval(cfg.steps, {"attempt": attempt})):
            trial.current().log({"objective": step}, step=step)
        if attempt < cfg.deaths + 1:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
    return 1.0

if __name__ == "__main__":
    main()
"""


def sweep(*overrides: str) -> int:
    typed = command("+x=1,2", "hydra.launcher.workers=1", *overrides, app=Path("app.py"))
    return subprocess.run(
        typed, capture_output=True, timeout=PATIENCE_SECONDS, check=False
    ).returncode


def states() -> list[str]:
    return [trial.state.name for trial in study().get_trials()]


@pytest.mark.parametrize("steps", [pytest.param("0", id="at once"), pytest.param("2", id="later")])
def test_a_trial_whose_machine_always_dies_reaches_max_attempts(steps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.py").write_text(APP)
    typed = [f"+steps='{steps}'", "+deaths=100", "hydra.sweeper.max_attempts=3"]
    assert [sweep(*typed) for _ in range(3)] == [-signal.SIGKILL] * 3
    assert states() == ["RUNNING", "WAITING"]
    assert sweep(*typed) == 0
    assert states() == ["FAIL", "COMPLETE"]
    assert study().get_trials()[0].user_attrs["outcome"] == "killed"
    assert len((STUDY / "0" / "begun").read_text()) == 3
    assert Run.open(STUDY / "0").outcome.word == "killed"


def test_a_trial_that_gets_further_each_time_ends_however_often_its_machine_dies(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("app.py").write_text(APP)
    typed = ["+steps='attempt'", "+deaths=4", "hydra.sweeper.max_attempts=2"]
    assert [sweep(*typed) for _ in range(5)] == [-signal.SIGKILL] * 4 + [0]
    assert states() == ["COMPLETE", "COMPLETE"]
