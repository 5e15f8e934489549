"""Resuming a study, or beginning a new one: said by the study, and asked for by the user."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from studies import PATIENCE_SECONDS, STUDY, study, sweep

from hrm_sweep.runs import record

RESUME = "hydra.sweeper.resume="

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_a_study_says_that_it_is_resumed_and_how_to_start_anew():
    first = sweep("+x=1,2,3", f"{RESUME}never")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("Study study · ")
    done = sweep("+x=1,2,3,4", f"{RESUME}must")
    assert done.returncode == 0, done.stderr
    line, head = done.stdout.splitlines()[:2]
    said, _, delete = line.rpartition(": ")
    assert said == (
        "Resumes study study: 3 done, 1 to run; to start anew, take another "
        "hydra.sweeper.study_name, or delete it first"
    )
    assert head.startswith("Study study · ")
    kept = record.read(STUDY)
    assert not any("resume=" in str(entry.fields) for entry in kept)
    assert shlex.split(delete)[:3] == ["python", "-m", "hrm_sweep"]
    deleted = subprocess.run(
        [sys.executable, *shlex.split(delete)[1:], "--yes"],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert deleted.returncode == 0, deleted.stderr
    anew = sweep("+x=7,8", f"{RESUME}never")
    assert anew.returncode == 0, anew.stderr
    assert [trial.params for trial in study().get_trials()] == [{"x": 7}, {"x": 8}]


def test_a_study_that_is_there_is_not_resumed_against_the_users_will():
    assert sweep("+x=1,2").returncode == 0
    done = sweep("+x=1,2,3", f"{RESUME}never")
    assert done.returncode == 2
    refused = "hydra.sweeper.resume=never: study study is there already; to start anew, take anot"
    assert done.stderr.startswith(refused)
    assert len(study().get_trials()) == 2
    Path("multirun/optuna.db").unlink()  # the folder alone is the study too
    assert sweep("+x=1,2,3", f"{RESUME}never").stderr == done.stderr


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        pytest.param(["must"], "must: there is no study study; those that can be", id="no study"),
        pytest.param(
            ["must", "hydra.sweeper.study_name=null"],
            "must: hydra.sweeper.study_name is not given; those that can be resumed",
            id="no name",
        ),
        pytest.param(["yes"], "yes: must be auto, must or never", id="another word"),
    ],
)
def test_a_study_that_is_not_there_is_not_begun(overrides, said, tmp_path):
    word, *others = overrides
    done = sweep("+x=1,2", f"{RESUME}{word}", *others)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{RESUME}{said}")
    assert list(tmp_path.iterdir()) == []
