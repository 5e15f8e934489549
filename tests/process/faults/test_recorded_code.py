"""A record that names code to run: nothing of it runs before the user has said so."""

import subprocess
import sys
from pathlib import Path

import pytest
from studies import PATIENCE_SECONDS

TINY = (
    *("trainer=smoke", "hidden_dim=32", "data.num_puzzles=8", "data.num_eval_puzzles=4"),
    *("tracking=off", "study.name=otter"),
)

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def hrm_sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hrm_sweep", *arguments],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_study_with_a_callback_is_resumed_once_the_user_agrees():
    callback = "study.on_end='echo $HRM_SWEEP_OUTCOME >> ended'"
    done = hrm_sweep("-m", "lr=1e-3,2e-3,3e-3", "study.patience=1", callback, *TINY)
    assert done.returncode == 0, done.stderr
    assert Path("ended").read_text() == "complete\n"
    asked = hrm_sweep("resume", "otter")
    assert asked.returncode == 2
    assert "HRM_SWEEP_OUTCOME >> ended" in asked.stdout
    assert asked.stderr == "otter: there is no terminal to confirm at; add --yes\n"
    agreed = hrm_sweep("resume", "otter", "--yes")
    assert agreed.returncode == 0, agreed.stderr
    assert "Resumes study otter: " in agreed.stdout
