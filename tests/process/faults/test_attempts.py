"""Two attempts of an app that is not deterministic are two curves, not one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from studies import STUDY, command, study

from hrm_sweep.runs.run import Run

APP = """
import os, signal
import hydra
from hrm_sweep import trial

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    attempt = int((trial.current().folder / "attempts").exists()) + 1
    (trial.current().folder / "attempts").touch()
    for step in range(1, 8 if attempt == 1 else 6):
        trial.current().log({"objective": step + attempt / 10}, step=step)
    if attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return 1.0

if __name__ == "__main__":
    main()
"""
JUDGED = "hydra.sweeper.pruner={_target_:optuna.pruners.ThresholdPruner,upper:9.0}"
"""Above every step, so that it judges each and prunes none."""


@pytest.mark.parametrize("pruner", [(), (JUDGED,)], ids=["no pruner", "pruner"])
def test_a_killed_trial_has_the_curve_of_its_last_attempt(pruner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.py").write_text(APP)
    done = subprocess.run(
        command("+x=1", *pruner, app=Path("app.py")), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = {step: step + 0.2 for step in range(1, 6)}
    run = Run.open(STUDY / "0")
    assert {step: values["objective"] for step, values in run.curves.items()} == expected
    (trial,) = study().get_trials()
    assert trial.state.name == "COMPLETE"
    assert trial.intermediate_values == expected
    shown = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "show", "study/0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "attempt 2; steps 1-7 were measured again (differ)" in shown.stdout
