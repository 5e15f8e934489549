"""Sweeps that start at once, or into one folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_study import APP, UNTRACKED, command, study, sweep, until

from hrm_sweep.tracking import record

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def start(*overrides: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*overrides), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_new_study_does_not_take_the_folder_of_one_that_runs():
    first = start("+x=1,2", "+pause=0.5")
    until(lambda: Path("multirun/study/0/record.jsonl").exists())
    other = sweep("+x=1,2", "hydra.sweeper.study_name=other")
    assert other.returncode == 2
    assert other.stderr.strip() == (
        "hydra.sweep.dir=multirun/study: another study works there now; "
        "take another folder, or join that study by its name"
    )
    printed, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors
    assert "2 complete" in printed
    assert list(Path("multirun").glob("study.*")) == []


def test_a_new_study_sets_aside_the_folder_of_one_that_has_ended():
    assert sweep("+x=1,2").returncode == 0
    assert sweep("+x=3", "hydra.sweeper.study_name=other").returncode == 0
    assert Path("multirun/study.1/1/record.jsonl").exists()
    assert not Path("multirun/study/1").exists()


def test_of_sweeps_that_start_a_study_at_once_none_sets_the_folder_aside():
    sweeps = [start("+x=range(0,6)", "+pause=0.02", "hydra.launcher.workers=1") for _ in range(3)]
    for process in sweeps:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    assert list(Path("multirun").glob("study.*")) == []
    assert [trial.state.name for trial in study().get_trials()] == ["COMPLETE"] * 6
    for number in range(6):
        events = [entry.event for entry in record.read(Path(f"multirun/study/{number}"))]
        assert events.count("started") == 1


def test_the_number_of_repeats_belongs_to_the_study():
    seeded = ("+x=1", "+seed=0")
    assert sweep(*seeded, "hydra.sweeper.repeats=2").returncode == 0
    done = sweep(*seeded, "hydra.sweeper.repeats=3")
    assert done.returncode == 2
    assert "study.name=study: it was made with study.repeats=2, not 3; keep to that" in done.stderr


def test_a_sweep_that_finds_every_trial_in_other_hands_has_not_failed():
    first = start("+x=1,2", "+pause=1", "hydra.launcher.workers=2")
    until(lambda: Path("multirun/study/1/record.jsonl").exists())
    other = sweep("+x=1,2", "+pause=1")
    assert other.returncode == 0, other.stderr
    assert "No trial is complete yet." in other.stdout
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors


def test_a_study_whose_reader_has_enough_goes_on():
    first = start("+x=1,2,3", "+pause=0.1")
    assert first.stdout.readline().startswith("Study study")
    first.stdout.close()
    assert first.wait(timeout=60) == 0, first.stderr.read()
    assert first.stderr.read() == ""
    assert [trial.state.name for trial in study().get_trials()] == ["COMPLETE"] * 3
    end = record.read(Path("multirun/study"))[-1]
    assert (end.event, end.fields["outcome"]) == ("finished", "complete")


def test_a_study_goes_on_in_its_folder_when_hydras_own_has_another_date():
    name = ["hydra/sweeper=hrm_sweep", "hydra.sweeper.study_name=study", UNTRACKED]
    typed = [sys.executable, str(APP), "-m", "hydra/launcher=pool", *name, "+x=1,2,3"]
    killed = subprocess.Popen([*typed, "+pause=0.3"], start_new_session=True)
    until(lambda: len(list(Path("multirun").glob("*/*/*/record.jsonl"))) >= 2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    done = subprocess.run(
        [*typed, "+pause=0.3"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder,) = Path("multirun").glob("*/*")
    for trial in study().get_trials():
        assert Path(trial.user_attrs["folder"]) == folder / str(trial.number)
        metrics = [e for e in record.read(folder / str(trial.number)) if e.event == "metrics"]
        assert len(metrics) == 10
