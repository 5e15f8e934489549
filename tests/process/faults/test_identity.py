"""A study is one thing: its folder is the truth, and copies, moves and parts of it are known."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from studies import STUDY, awaiting, begun, command, study, sweep, until
from truth import Truth

from hrm_sweep.runs import record
from hrm_sweep.runs.find import open_folder

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

DATABASE = Path("multirun/optuna.db")
SEARCH = ("+x=interval(0.0,4.0)", "hydra.sweeper.seed=1")
TRACKED = ("hydra.sweeper.tracking.name=mlflow", "hydra.launcher.workers=1")
PRUNED = (
    "hydra.sweeper.pruner={_target_:optuna.pruners.ThresholdPruner,upper:2}",
    "hydra.launcher.workers=1",
)


def hrm_sweep(*arguments: str, code: int = 0) -> str:
    """What a command prints, to either stream."""
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def swept(*overrides: str, code: int = 0) -> str:
    done = sweep(*overrides)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def kept(url: str = f"sqlite:///{DATABASE}") -> list[tuple]:
    """All that Optuna has of each trial, but for who ran it and when."""
    found = []
    for trial in optuna.load_study(study_name="study", storage=url).get_trials():
        attrs = {name: value for name, value in trial.user_attrs.items() if name != "owner"}
        curve, constraints = trial.intermediate_values, trial.constraints
        found.append((trial.number, trial.state, trial.params, trial.values, curve, constraints))
        found.append((trial.distributions, attrs))
    return found


def starts() -> int:
    """How often a trial was started, by the records."""
    entries = (record.read(folder) for folder in begun())
    return sum(entry.event == "started" for each in entries for entry in each)


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param(("+x=1,2,3",), id="grid"),
        pytest.param((*SEARCH, "hydra.sweeper.n_trials=5"), id="search"),
        pytest.param((*SEARCH, "hydra.sweeper.n_trials=6", *PRUNED), id="pruned trials"),
        pytest.param(("+x=1,2", "+end=well,raise"), id="failed trials"),
        pytest.param(("+x=1,2", "+end=well,diverge"), id="diverged trials"),
        pytest.param(
            ("+x=1,2,3", "hydra.sweeper.constraints={objective:'<= 0.5'}"), id="constraints"
        ),
        pytest.param(
            (
                "+x=1,2,3",
                "+returns=tuple",
                "hydra.sweeper.objective=[height,size]",
                "hydra.sweeper.direction=[minimize,maximize]",
            ),
            id="two objectives",
        ),
        pytest.param(("+x=1,2", "+seed=3", "+noise=0.1", "hydra.sweeper.repeats=2"), id="repeats"),
    ],
)
def test_a_lost_database_is_rebuilt_from_the_folder(typed):
    swept(*typed)
    before, count = kept(), starts()
    DATABASE.unlink()
    printed = swept(*typed, "hydra.sweeper.dry_run=true")
    assert f"{len(begun())} done, 0 to run" in printed
    assert not DATABASE.exists(), "a dry run creates nothing"
    printed = swept(*typed)
    trials = len(begun())
    assert f"Optuna lacked {trials} trials of {STUDY}: rebuilt from the folder" in printed
    assert kept() == before
    assert starts() == count, "nothing was trained again"
    assert [*Path("multirun").glob("study.*")] == []


def test_a_rebuilt_search_proposes_what_the_original_would_have():
    swept(*SEARCH, "hydra.sweeper.n_trials=12", "hydra.launcher.workers=1")
    shutil.copytree("multirun", "original")
    DATABASE.unlink()
    more = (*SEARCH, "hydra.sweeper.n_trials=14", "hydra.launcher.workers=1")
    swept(*more)
    rebuilt = [trial.params for trial in study().get_trials()]
    shutil.rmtree("multirun")
    Path("original").rename("multirun")
    swept(*more)
    assert [trial.params for trial in study().get_trials()] == rebuilt
    assert len(rebuilt) == 14


def test_a_grid_whose_database_was_lost_keeps_its_order_when_it_grows():
    swept("+x=1,2")
    DATABASE.unlink()
    swept("+x=1,2,3")
    assert [trial.params["x"] for trial in study().get_trials()] == [1, 2, 3]


def test_trials_that_an_older_database_lacks_are_taken_from_the_folder():
    swept("+x=1,2")
    shutil.copy(DATABASE, "backup.db")
    swept("+x=1,2,3,4")
    before, count = kept(), starts()
    shutil.copy("backup.db", DATABASE)
    assert "Optuna lacked 2 trials" in swept("+x=1,2,3,4")
    assert kept() == before
    assert starts() == count


def test_interrupted_trials_continue_under_their_numbers_after_the_database_was_lost(start):
    held = ("+x=1,2,3", awaiting("go", [2, 3]), "+checkpoint_every=1", "hydra.launcher.workers=2")
    first = start(*held)
    until(lambda: len(begun()) == 3)
    first.kill()
    DATABASE.unlink()
    Path("go").touch()
    swept(*held)
    trials = study().get_trials()
    assert [trial.params["x"] for trial in trials] == [1, 2, 3]
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert all([*trial.intermediate_values] == [*range(1, 11)] for trial in trials)


def test_a_trial_whose_folder_was_removed_with_the_database_is_run_again():
    swept("+x=1,2,3")
    DATABASE.unlink()
    shutil.rmtree(STUDY / "1")
    swept("+x=1,2,3")
    assert [trial.params["x"] for trial in study().get_trials()] == [1, 2, 3]
    assert (STUDY / "1" / "record.jsonl").exists()


def test_a_lost_database_allows_no_other_recipe():
    swept("+x=1,2")
    DATABASE.unlink()
    printed = swept("+x=1,2", "+y=3", code=2)
    assert "hydra.sweeper.study_name=study: it was made with nothing else set, not +y=3" in printed
    assert not DATABASE.exists()


def test_a_damaged_database_is_named_with_its_remedy():
    swept("+x=1,2")
    before, count = kept(), starts()
    DATABASE.write_bytes(b"garbage" * 1000)
    remedy = f"mv {DATABASE} {DATABASE}.damaged"
    for printed in (swept("+x=1,2", code=2), hrm_sweep("delete", "study", "--yes", code=2)):
        assert f"hydra.sweeper.storage=sqlite:///{DATABASE}: is damaged" in printed
        assert printed.strip().endswith(remedy)
        assert "Traceback" not in printed
    subprocess.run(remedy.split(), check=True)
    swept("+x=1,2")
    assert (kept(), starts()) == (before, count)


def test_the_study_of_a_copied_folder_continues_in_another_project(monkeypatch):
    swept("+x=1,2")
    source, count = STUDY.absolute(), starts()
    Path("other/multirun").mkdir(parents=True)
    monkeypatch.chdir("other")
    shutil.copytree(source, STUDY)
    assert f"Optuna lacked 2 trials of {STUDY}" in swept("+x=1,2")
    assert starts() == count
    hrm_sweep("delete", "study", "--yes")
    assert not STUDY.exists()
    assert optuna.get_all_study_names(f"sqlite:///{DATABASE}") == []
    assert (source / "0" / "record.jsonl").exists()


def test_a_copy_beside_its_original_is_not_the_study():
    swept("+x=1,2")
    copy = Path("multirun/copy")
    shutil.copytree(STUDY, copy)
    assert re.search(r"study, a copy +multirun/copy ", hrm_sweep("list"))
    printed = swept("+x=1,2,3", f"hydra.sweep.dir={copy}", code=2)
    assert f"{copy}: is a copy of study study, which is in {STUDY.absolute()}" in printed
    own = f"hydra.sweeper.storage=sqlite:///{copy}/optuna.db"
    assert "Optuna lacked 2 trials" in swept("+x=1,2,3", f"hydra.sweep.dir={copy}", own)
    assert not (STUDY / "2").exists()
    assert len(study().get_trials()) == 2


def test_deleting_a_copy_leaves_the_original_even_while_it_runs(start):
    first = start("+x=1,2,3", awaiting("go", [3]), "hydra.launcher.workers=1")
    until(lambda: len(begun()) == 3)
    shutil.copytree(STUDY, "multirun/copy")
    printed = hrm_sweep("delete", "multirun/copy", "--yes")
    assert "this removes the folder multirun/copy.\n" in printed
    assert f"It is a copy of {STUDY.absolute()}, which stays whole." in printed
    assert not Path("multirun/copy").exists()
    refused = hrm_sweep("delete", "study", "--yes", code=2)
    assert "study: is running; stop it first" in refused
    Path("go").touch()
    assert first.ends() == 0, first.printed
    assert len(study().get_trials()) == 3


def test_deleting_refuses_while_another_project_runs_the_study(start, monkeypatch):
    shared = f"hydra.sweeper.storage=sqlite:///{Path('shared.db').absolute()}"
    go, there = Path("go").absolute(), Path("there").absolute()
    held = (f"+awaited={{3:{go}}}", shared)
    swept("+x=1,2", *held)
    there.mkdir()
    home = Path.cwd()
    monkeypatch.chdir(there)
    other = start("+x=1,2,3", *held)
    until(begun)
    monkeypatch.chdir(home)
    host = os.uname().nodename
    printed = hrm_sweep("delete", "study", "--yes", code=2)
    assert printed.strip() == f"study: a sweep on {host} runs 1 trial; stop it first"
    go.touch()
    assert other.ends() == 0, other.printed


def test_deleting_from_another_folder_takes_the_runs_from_the_studys_own_mlflow(monkeypatch):
    swept("+x=1,2", *TRACKED)
    truth, project, elsewhere = Truth("sqlite:///mlruns/mlflow.db"), Path.cwd(), Path("elsewhere")
    assert len(truth.runs()) == 3
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    printed = hrm_sweep("delete", str(project / STUDY), "--yes")
    assert "the study in Optuna, 3 runs in MLflow.\n" in printed
    assert truth.runs() == []
    assert list(Path().iterdir()) == []


def test_deleting_says_where_runs_in_mlflow_are_not():
    swept("+x=1", *TRACKED)
    shutil.rmtree("mlruns")
    printed = hrm_sweep("delete", "study", "--yes")
    database = Path("mlruns/mlflow.db").absolute()
    assert f"sqlite:///{database} does not have its runs; what another MLflow has" in printed
    assert not Path("mlruns").exists()


def test_a_second_project_on_this_machine_has_a_folder_of_its_own(monkeypatch):
    shared = f"hydra.sweeper.storage=sqlite:///{Path('shared.db').absolute()}"
    swept("+x=1,2", shared)
    Path("other").mkdir()
    monkeypatch.chdir("other")
    subprocess.run(command("+x=1,2,3", shared, folder=None), check=True)
    assert [path.parent.name for path in Path("multirun").rglob("2/record.jsonl")] != []
    assert not Path("../multirun/study/2").exists()


def test_a_moved_study_is_continued_where_it_is():
    swept("+x=1,2")
    moved = Path("multirun/moved")
    STUDY.rename(moved)
    printed = swept("+x=1,2,3", f"hydra.sweep.dir={moved}")
    assert f"best        {moved}/1" in printed
    assert f"reproduce {moved}" in printed
    assert not STUDY.exists()
    assert "3 complete" in hrm_sweep("list")
    hrm_sweep("delete", str(moved), "--yes")
    assert optuna.get_all_study_names(f"sqlite:///{DATABASE}") == []


def test_a_moved_project_asks_its_own_database(monkeypatch):
    Path("one").mkdir()
    monkeypatch.chdir("one")
    swept("+x=1,2", "hydra.sweep.dir=out/study")
    shutil.rmtree("out/study/1")
    monkeypatch.chdir("..")
    Path("one").rename("two")
    assert "Trial 1 of study: x=2" in hrm_sweep("best", "two/out/study")


@pytest.mark.parametrize("folder", ["a b/(c), d=e", "x#1/100%?"])
def test_a_study_outside_multirun_is_found_by_name_and_by_path(folder):
    where = f"hydra.sweep.dir='{folder}'"
    printed = swept("+x=1,2", where)
    for line in printed.splitlines():
        if line.startswith(("  reproduce ", "  explore ")):
            assert folder in line
    assert re.search(rf"study +{re.escape(folder)} ", hrm_sweep("list"))
    for named in ("study", folder):
        assert "Trial 1 of study: x=2" in hrm_sweep("best", named)
        assert "Trial 1 of study ·" in hrm_sweep("show", named)
        assert "Trial 0 of study ·" in hrm_sweep("show", f"{named}/0")
        assert "2 rows" in hrm_sweep("export", named)
    command = next(line for line in printed.splitlines() if line.startswith("  reproduce "))
    pasted = command.removeprefix("  reproduce   python ") + " --yes"  # there is nobody to ask
    done = subprocess.run(
        f"{sys.executable} {pasted}", shell=True, capture_output=True, text=True, check=False
    )
    assert "Reproduced: " in done.stdout, done.stdout + done.stderr


def test_each_folder_of_a_shared_study_gives_the_answer_of_all(monkeypatch):
    shared = f"hydra.sweeper.storage=sqlite:///{Path('shared.db').absolute()}"
    homes = [Path("here").absolute(), Path("there").absolute()]
    for home, grid in zip(homes, ("+x=1,3", "+x=1,3,2"), strict=True):
        home.mkdir()
        monkeypatch.chdir(home)
        swept(grid, shared)
    assert "trials 0 to 1 in " in (found := hrm_sweep("list"))
    assert "3 complete" in found
    assert "counted too  trials 0 to 1 in " in hrm_sweep("best", "study")
    monkeypatch.chdir(homes[0])
    there = homes[1] / STUDY
    assert f"3 complete (trial 2 in {there})" in hrm_sweep("list").replace("\n", "")
    best = hrm_sweep("best", "study")
    assert "Trial 2 of study: x=2" in best
    assert f"it ran     in {there}" in best
    assert "3 rows" in (exported := hrm_sweep("export", "study"))
    assert f"taken from Optuna: trial 2 in {there}" in exported
    hrm_sweep("report", "study")
    page = (STUDY / "report.html").read_text()
    assert f"trial 2 in {there}" in page
    refused = hrm_sweep("reproduce", "study", code=2)
    assert refused.strip() == f"Trial 2 of study: it ran in {there}; reproduce it there"
    Path("../shared.db").rename("../hidden.db")
    assert "perhaps further ones elsewhere: " in hrm_sweep("list").replace("\n", "")


def test_a_removed_trial_is_counted_alike_everywhere():
    swept("+x=1,2,3")
    shutil.rmtree(STUDY / "2")
    assert "3 complete (trial 2 without a folder)" in hrm_sweep("list").replace("\n", "")
    assert "3 done, 0 to run" in swept("+x=1,2,3", "hydra.sweeper.dry_run=true")
    printed = swept("+x=1,2,3")
    assert "nothing is left to run" in printed
    assert "Not in this folder, known from Optuna: trials 2" in printed


def test_an_interrupted_trial_is_to_go_everywhere(start):
    held = ("+x=1,2,3", awaiting("go", [2, 3]), "hydra.launcher.workers=1")
    first = start(*held)
    until(lambda: len(begun()) == 2)
    first.signal(2)
    assert first.ends() == 130, first.printed
    assert "1 complete, 2 to go (1 interrupted)" in hrm_sweep("list")
    assert "1 done, 2 to run" in swept(*held, "hydra.sweeper.dry_run=true")


def test_two_studies_of_one_name_are_told_apart():
    swept("+x=1,2")
    shutil.move(STUDY, "kept")
    DATABASE.unlink()
    swept("+x=1,2")
    shutil.rmtree(STUDY)
    shutil.move("kept", STUDY)
    printed = swept("+x=1,2", code=2)
    assert f"hydra.sweeper.study_name=study: {STUDY} has another study of that name than" in printed
    assert "take another hydra.sweeper.study_name" in printed


def test_the_id_of_a_study_is_in_its_folder_in_optuna_and_in_its_trials():
    swept("+x=1,2", "+seed=3", "hydra.sweeper.repeats=2")
    found = open_folder(STUDY)
    assert len(found.id) == 32
    assert study().user_attrs["hrm_sweep.study_id"] == found.id
    runs = [found.run, *found.trials, *found.trials[0].repeats]
    assert [run.tags["hrm_sweep.study_id"] for run in runs] == [found.id] * 5
    swept("+x=1,2,3", "+seed=3", "hydra.sweeper.repeats=2")
    assert open_folder(STUDY).id == found.id


def test_resume_names_the_folder_of_another_apps_study():
    swept("+x=1,2")
    STUDY.rename("multirun/moved")
    printed = hrm_sweep("resume", "multirun/moved", code=2)
    assert f" hydra.sweep.dir={Path('multirun/moved').absolute()} +x=1,2\n" in printed
    assert command()[3] in printed
    assert "nothing is left to run" in hrm_sweep("resume", "multirun/moved", "--yes")


def test_deleting_leaves_what_is_not_the_studys(monkeypatch):
    """The folder of the study is the project's own, and a trial was copied in it."""
    here = ["hydra.sweep.dir=.", "hydra.sweep.subdir=runs/${hydra.job.num}"]
    Path("notes.txt").write_text("mine")
    swept("+x=1,2", *here)
    shutil.copytree("runs/0", "runs/0-old")
    Path("7").mkdir()
    Path("7/record.jsonl").touch()  # of a trial that was cut off before it began
    printed = hrm_sweep("delete", "study", "--yes")
    assert ". stays with other files: multirun, notes.txt, runs\n" in printed
    left = {str(path) for path in Path().rglob("*") if path.is_file()}
    assert "notes.txt" in left
    assert "runs/0-old/record.jsonl" in left
    assert not [name for name in left if name.startswith(("runs/0/", "runs/1/", "record"))]
