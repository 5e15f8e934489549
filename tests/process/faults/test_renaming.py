"""`rename`: one name in the folder and in Optuna, and nothing lost where it is cut off."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from studies import awaiting, begun, command, sweep, until

from hrm_sweep.runs.record import Record

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

URL = "sqlite:///multirun/optuna.db"
KILLED = """
import os, sys
from hrm_sweep import cli

left = int(sys.argv.pop(1))
STEPS = ("annotate", "rename_study", "_name", "_move", "_rename_study", "_rename_run")

def watch(frame, event, _):
    global left
    code = frame.f_code
    if event == "return" and code.co_name in STEPS and "hrm_sweep" in code.co_filename:
        left -= 1
        if not left:
            os._exit(9)

sys.setprofile(watch)
cli.main()
"""
"""The command line in a process that is killed after so many steps of a renaming."""


def hrm_sweep(*arguments: str, code: int = 0, kill_after: int | None = None) -> str:
    """What a command prints, to either stream."""
    words = ["-m", "hrm_sweep"] if kill_after is None else ["-c", KILLED, str(kill_after)]
    done = subprocess.run(
        [sys.executable, *words, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def trials(name: str) -> list[tuple[int, list[float] | None]]:
    """Numbers and values of a study's trials in Optuna."""
    found = optuna.load_study(study_name=name, storage=URL).get_trials()
    return [(trial.number, trial.values) for trial in found]


def folders(name: str) -> list[str]:
    """Where the trials of a study in Optuna say that they are."""
    found = optuna.load_study(study_name=name, storage=URL).get_trials()
    return [trial.user_attrs["folder"] for trial in found]


def listed(said: Callable[..., str] = hrm_sweep) -> list[str]:
    return [line["name"] for line in json.loads(said("list", "--json"))]


def start_study() -> None:
    done = sweep("+x=1,2,3")
    assert done.returncode == 0, done.stderr


def extend(name: str) -> None:
    """Resumes a study with a fourth point."""
    typed = command("+x=1,2,3,4", name=f"'{name}'", folder=None)
    resumed = subprocess.run(typed, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr


def write_run(name: str) -> Path:
    folder = Path("multirun/train") / name
    with Record(folder) as record:
        params = {"tracking.name": "off"}
        record.append(
            "started", kind="train", name=name, description="    app.py", params=params, tags={}
        )
        record.append("finished", outcome="complete", best={"x": 1.0}, reason="")
    return folder


def test_a_study_has_its_new_name_everywhere():
    start_study()
    before = trials("study")
    assert hrm_sweep("rename", "study", "näw one").startswith("näw one: multirun/näw one\n")
    assert listed() == ["näw one"]
    assert optuna.get_all_study_names(URL) == ["näw one"]
    assert trials("näw one") == before
    assert folders("näw one") == [f"multirun/näw one/{number}" for number in range(3)]
    assert "Trial 1 of näw one: x=2" in hrm_sweep("best", "näw one")
    assert "Trial 1 of näw one · started" in hrm_sweep("show", "näw one/1")
    assert "study: no study or run of that name" in hrm_sweep("best", "study", code=2)
    extend("näw one")
    assert len(trials("näw one")) == 4
    assert not Path("multirun/study").exists()
    assert listed() == ["näw one"]
    assert "Trial 3 of näw one" in hrm_sweep("show", "näw one/3")
    assert hrm_sweep("rename", "näw one", "study").startswith("study: multirun/study\n")


@pytest.mark.parametrize("below", ["below", "multirun/study"])
def test_a_study_renamed_from_another_folder_is_resumed_where_it_is(below, monkeypatch):
    start_study()
    project, folder = Path.cwd(), Path(below)
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    hrm_sweep("rename", os.path.relpath(project / "multirun/study"), "new")
    monkeypatch.chdir(project)
    extend("new")
    assert [path.name for path in Path("multirun").iterdir() if path.is_dir()] == ["new"]
    assert [path.name for path in Path("multirun/new").glob("3")] == ["3"]
    assert len(trials("new")) == 4


@pytest.mark.parametrize("way_out", ["again", "back"])
def test_a_renaming_that_was_cut_off_anywhere_is_finished_or_undone(way_out, typed):
    """Commands that are not killed run in this process, as two dozen starts take a minute."""

    def said(*arguments: str, code: int = 0) -> str:
        ended, *printed = typed(*arguments)
        assert ended == code, printed
        return "".join(printed)

    start_study()
    before, last = trials("study"), ""
    for kill_after in range(1, 20):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(kill_after), "rename", "study", "new"], check=False
        )
        if done.returncode == 0:
            last = "new"
            break
        assert done.returncode == 9
        (name,) = listed(said)  # once, whatever its folder is called
        assert "Trial 1 of" in said("best", name)
        (known,) = optuna.get_all_study_names(URL)
        assert trials(known) == before
        if way_out == "again":
            is_over = name == "new" and "to finish: " not in said("list")
            said("rename", "study", "new", code=2 if is_over else 0)
            assert (listed(said), optuna.get_all_study_names(URL)) == (["new"], ["new"])
            assert Path("multirun/new/record.jsonl").exists()
            said("rename", "new", "study")
        else:
            said("rename", name, "study")
        assert (listed(said), optuna.get_all_study_names(URL)) == (["study"], ["study"])
        assert trials("study") == before
        assert folders("study") == [f"multirun/study/{number}" for number in range(3)]
        assert [path.name for path in Path("multirun").iterdir() if path.is_dir()] == ["study"]
    assert kill_after == 7
    assert last == "new"


def test_a_sweep_waits_until_a_renaming_that_was_cut_off_is_finished():
    start_study()
    hrm_sweep("rename", "study", "new", code=9, kill_after=2)
    assert optuna.get_all_study_names(URL) == ["study"]
    assert "to finish: python -m hrm_sweep rename study new" in hrm_sweep("list")
    done = sweep("+x=1,2,3,4")
    assert done.returncode != 0
    assert "was cut off; finish it first: " in done.stdout + done.stderr
    hrm_sweep("rename", "study", "new")
    assert len(trials("new")) == 3


@pytest.mark.parametrize("kill_after", [1, 2, 3])
def test_a_run_whose_renaming_was_cut_off(kill_after):
    write_run("one")
    hrm_sweep("rename", "one", "two", code=9, kill_after=kill_after)
    if kill_after < 3:
        assert "to finish: python -m hrm_sweep rename one two" in hrm_sweep("list")
        assert hrm_sweep("rename", "one", "two") == "two: multirun/train/two\n"
    assert listed() == ["two"]
    assert "two · started" in hrm_sweep("show", "two")


def test_a_study_that_runs_keeps_its_name(start):
    running = start(f"{awaiting('go', [1])}", "+x=1,2")
    until(begun)
    said = hrm_sweep("rename", "study", "new", code=2)
    assert "study: is running; stop it first" in said
    Path("go").touch()
    assert running.ends() == 0
    hrm_sweep("rename", "study", "new")
    assert len(trials("new")) == 2


@pytest.fixture(scope="module")
def with_names_taken(tmp_path_factory) -> Path:
    """A study beside whatever else has a name; what is refused leaves it as it is."""
    project = tmp_path_factory.mktemp("taken")
    with contextlib.chdir(project):
        start_study()
        write_run("taken")
        Path("multirun/folder").mkdir()
        optuna.create_study(study_name="other", storage=URL)
        shutil.copytree("multirun/study", "multirun/copy")
    return project


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["study", "taken"], "name=taken: multirun/train/taken has a run of", id="run"),
        pytest.param(
            ["study", "other"], "multirun/optuna.db has a study of that name", id="Optuna"
        ),
        pytest.param(["study", "folder"], "multirun/folder is there already", id="folder"),
        pytest.param(["study", "a/b"], "name=a/b: must be one folder's name", id="two folders"),
        pytest.param(["study", ".a"], "name=.a: must be one folder's name", id="hidden"),
        pytest.param(["study/1", "new"], "is part of study study; name the whole", id="trial"),
        pytest.param(["sutdy", "new"], "did you mean study", id="unknown"),
        pytest.param(["copy", "new"], "multirun/copy: is a copy of /", id="copy"),
    ],
)
def test_a_name_that_cannot_be_given(arguments, words, with_names_taken, monkeypatch):
    monkeypatch.chdir(with_names_taken)
    said = hrm_sweep("rename", *arguments, code=2)
    assert words in said
    assert said.count("\n") == 1
    assert Path("multirun/study/record.jsonl").exists()
    assert sorted(optuna.get_all_study_names(URL)) == ["other", "study"]
    assert not list(Path("multirun").rglob("annotations.json"))
