"""Studies that end because their last trials have brought no new best."""

import shlex
import subprocess
import sys

import pytest
from studies import PATIENCE_SECONDS, STUDY, command, study, sweep

from hrm_sweep.runs import record

SPACE = ("+x=2,5,1,7,8,9", "hydra.launcher.workers=1")

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def run(typed: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        typed, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def states() -> list[str]:
    return [trial.state.name for trial in study().get_trials()]


def test_the_study_ends_well_says_why_and_continues_as_printed():
    done = sweep(*SPACE, "hydra.sweeper.patience=3")
    assert done.returncode == 0, done.stderr
    assert states() == ["COMPLETE"] * 4 + ["WAITING"] * 2
    assert record.read(STUDY)[-1].fields["outcome"] == "complete"
    assert (STUDY / "report.html").exists()
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("  patience")]
    why, _, further = line.partition("to run them: ")
    assert why == "  patience    3 trials in a row without a new best, 2 trials left; "
    again = sweep(*SPACE, "hydra.sweeper.patience=3")
    assert again.returncode == 0, again.stderr
    assert line in again.stdout
    assert states() == ["COMPLETE"] * 4 + ["WAITING"] * 2
    program, *words = shlex.split(further)
    assert program == "python"
    done = run([sys.executable, *words])
    assert done.returncode == 0, done.stderr
    assert states() == ["COMPLETE"] * 6


def test_a_stock_launcher_is_not_given_the_whole_grid():
    typed = ["hydra/launcher=basic" if "launcher=" in word else word for word in command()]
    done = run([*typed, SPACE[0], "hydra.sweeper.patience=3"])
    assert done.returncode == 0, done.stderr
    assert states() == ["COMPLETE"] * 4 + ["WAITING"] * 2


def test_a_patience_that_is_no_number_of_trials_is_refused(tmp_path):
    done = sweep(*SPACE, "hydra.sweeper.patience=0")
    assert done.returncode == 2
    assert "hydra.sweeper.patience=0: must be 1 or more" in done.stderr
    assert list(tmp_path.iterdir()) == []
