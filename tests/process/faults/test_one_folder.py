"""Sweeps that start at once, or into one folder."""

import subprocess
import sys
from pathlib import Path

import pytest
from studies import APP, STUDY, UNTRACKED, Sweep, awaiting, begun, command, study, sweep, until

from hrm_sweep.runs import record

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_a_new_study_does_not_take_the_folder_of_one_that_runs(start):
    first = start("+x=1,2", awaiting("go", [1, 2]))
    until(begun)
    other = sweep("+x=1,2", "hydra.sweeper.study_name=other")
    assert other.returncode == 2
    assert other.stderr.strip() == (
        "hydra.sweep.dir=multirun/study: another study works there now; "
        "take another folder, or join that study by its name"
    )
    Path("go").touch()
    assert first.ends() == 0, first.printed
    assert "2 complete" in first.printed
    assert list(Path("multirun").glob("study.*")) == []


def test_a_new_study_sets_aside_the_folder_of_one_that_has_ended():
    assert sweep("+x=1,2").returncode == 0
    assert sweep("+x=3", "hydra.sweeper.study_name=other").returncode == 0
    assert Path("multirun/study.1/1/record.jsonl").exists()
    assert not Path("multirun/study/1").exists()


def test_of_sweeps_that_start_a_study_at_once_none_sets_the_folder_aside(start):
    sweeps = [start("+x=range(0,6)", "hydra.launcher.workers=1") for _ in range(3)]
    for each in sweeps:
        assert each.ends() == 0, each.printed
    assert list(Path("multirun").glob("study.*")) == []
    assert [trial.state.name for trial in study().get_trials()] == ["COMPLETE"] * 6
    for number in range(6):
        events = [entry.event for entry in record.read(Path(f"multirun/study/{number}"))]
        assert events.count("started") == 1


def test_a_study_that_began_while_a_sweep_looked_around_is_joined(start):
    held = ("+x=1,2", awaiting("go", [1, 2]), "hydra.launcher.workers=1")
    slow = start(*held, "hydra.sweeper.check=slow_check.check")
    until(Path("checks").exists)
    quick = start(*held)
    until(begun)
    Path("checked").touch()
    until(lambda: len(begun()) == 2)
    Path("go").touch()
    assert [slow.ends(), quick.ends()] == [0, 0], slow.printed + quick.printed
    assert [trial.state.name for trial in study().get_trials()] == ["COMPLETE"] * 2


def test_the_number_of_repeats_belongs_to_the_study():
    seeded = ("+x=1", "+seed=0")
    assert sweep(*seeded, "hydra.sweeper.repeats=2").returncode == 0
    done = sweep(*seeded, "hydra.sweeper.repeats=3")
    assert done.returncode == 2
    assert "study_name=study: it was made with hydra.sweeper.repeats=2, not 3" in done.stderr


def test_a_sweep_that_finds_every_trial_in_other_hands_has_not_failed(start):
    held = ("+x=1,2", awaiting("go", [1, 2]), "hydra.launcher.workers=2")
    first = start(*held)
    until(lambda: len(begun()) == 2)
    other = sweep(*held)
    assert other.returncode == 0, other.stderr
    assert "No trial is complete yet." in other.stdout
    Path("go").touch()
    assert first.ends() == 0, first.printed


def test_a_study_whose_reader_has_enough_continues():
    held = command("+x=1,2,3", awaiting("go", [1, 2, 3]))
    with subprocess.Popen(held, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline().startswith("Study study")
        first.stdout.close()
        Path("go").touch()
        errors = first.stderr.read()
    assert (first.returncode, errors) == (0, "")
    assert [trial.state.name for trial in study().get_trials()] == ["COMPLETE"] * 3
    end = record.read(STUDY)[-1]
    assert (end.event, end.fields["outcome"]) == ("finished", "complete")


def test_a_study_continues_in_its_folder_when_hydras_own_has_another_date():
    name = ["hydra/sweeper=hrm_sweep", "hydra.sweeper.study_name=study", UNTRACKED]
    typed = [sys.executable, str(APP), "-m", "hydra/launcher=pool", *name, "+x=1,2,3"]
    typed.append(awaiting("go", [2, 3]))
    killed = Sweep(typed, Path("killed.log"))
    try:
        until(lambda: len(list(Path("multirun").glob("*/*/*/record.jsonl"))) >= 2)
    finally:
        killed.kill()
    Path("go").touch()
    done = subprocess.run(typed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = Path("multirun").glob("*/*")
    for trial in study().get_trials():
        assert Path(trial.user_attrs["folder"]) == folder / str(trial.number)
        metrics = [e for e in record.read(folder / str(trial.number)) if e.event == "metrics"]
        assert len(metrics) == 10
