"""A run's folder is whole without MLflow: what its record lists is there, and its pictures are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from matplotlib.image import imread
from studies import until

from hrm_sweep.runs import record

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

PICTURES = ["prediction_vs_groundtruth.png", "training_metrics.png"]
SMALL = [
    *("trainer=smoke", "data.num_puzzles=8", "data.num_eval_puzzles=8", "hidden_dim=32"),
    *("trainer.compile=off", "study.workers=1"),
]
DOWN = "tracking.uri=http://127.0.0.1:1"


def hrm_sweep(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", *arguments, *SMALL],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(folder: Path) -> None:
    """The pictures are images, and each file that the record lists exists."""
    for name in PICTURES:
        assert imread(folder / name).ndim == 3
    last = record.read(folder)[-1]
    assert last.event == "finished"
    assert "best_model.pth" in last.fields["artifacts"]
    assert [name for name in last.fields["artifacts"] if not (folder / name).is_file()] == []


@pytest.mark.parametrize("tracking", ["tracking=off", DOWN])
def test_trials_have_their_pictures(tracking):
    hrm_sweep("-m", "lr=1e-3,1e-4", "epochs=2", "study.name=s", tracking)
    for number in ("0", "1"):
        check(Path("multirun/s", number))


def test_repeats_have_their_pictures():
    hrm_sweep("-m", "lr=1e-3", "epochs=1", "study.repeats=2", "study.name=s", "tracking=off")
    for repeat in ("0", "1"):
        check(Path("multirun/s/0", repeat))
    assert not [*Path("multirun/s/0").glob("*.png")]


@pytest.mark.parametrize("tracking", ["tracking=off", DOWN])
def test_a_single_run_has_its_pictures(tracking):
    hrm_sweep("epochs=2", "study.name=s", tracking)
    check(Path("multirun/train/s"))


def test_a_killed_trial_gets_the_picture_of_what_it_measured():
    typed = ["-m", "lr=1e-3", "epochs=100000", "study.name=s", "tracking=off", *SMALL]
    typed.append("study.max_attempts=1")
    process = subprocess.Popen([sys.executable, "-m", "hrm_sweep", *typed], start_new_session=True)
    folder = Path("multirun/s/0")

    def has_measured() -> bool:
        known = folder / "record.jsonl"
        return known.exists() and any(each.event == "metrics" for each in record.read(folder))

    until(has_measured)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    assert process.wait() == 1
    last = record.read(folder)[-1].fields
    assert last["outcome"] == "killed"
    assert [name for name in last["artifacts"] if not (folder / name).is_file()] == []
    assert imread(folder / "training_metrics.png").ndim == 3
