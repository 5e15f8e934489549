"""A disk that is full is no fault of a recipe: the study stops, and its trials wait."""

import contextlib
from pathlib import Path

import pytest
from studies import awaiting, endings, steps, study, sweep, until

TRIALS = 4
WORDS = "No space left on device"


@pytest.fixture
def project(small_disk, monkeypatch) -> Path:
    monkeypatch.chdir(small_disk)
    return small_disk


def fill(disk: Path) -> Path:
    """Leave not a byte."""
    filler = disk / "filler"
    for size in (1 << 16, 1):
        with contextlib.suppress(OSError), filler.open("ab", 0) as file:
            while True:
                file.write(bytes(size))
    return filler


def attempts() -> list[int]:
    return [trial.user_attrs["attempt"] for trial in study().get_trials()]


@pytest.mark.parametrize(
    "checkpoints",
    [
        pytest.param([], id="in the record"),
        pytest.param(["+checkpoint_every=3"], id="in the task's own files"),
    ],
)
def test_a_study_stops_and_continues_as_if_nothing_had_been(start, project, tmp_path, checkpoints):
    go = tmp_path / "go"
    held = [f"+x=range(0,{TRIALS})", awaiting(str(go), range(TRIALS)), *checkpoints]
    sweep = start(*held, "hydra.launcher.workers=2", log=tmp_path / "sweep.log")
    until(lambda: steps(0) == steps(1) == [1, 2])
    filler = fill(project)
    go.touch()
    assert sweep.ends() == 1, sweep.printed
    last = sweep.printed.splitlines()[-1]
    assert last.startswith(f"{WORDS} (met by trial ") or last.startswith("hydra.sweeper.storage=")
    assert "what was measured is kept in multirun/study; once " in last
    assert "continue with: python" in last
    assert "Traceback" not in sweep.printed
    filler.unlink()
    assert not {*endings(0), *endings(1)} & {"failed", "killed"}
    again = start(*held, log=tmp_path / "again.log")
    assert again.ends() == 0, again.printed
    assert [trial.value for trial in study().get_trials()] == [4, 1, 0, 1]
    assert attempts() == [1] * TRIALS
    assert [steps(number) for number in range(TRIALS)] == [[*range(1, 11)]] * TRIALS


COMMANDS = [["report", "study"], ["export", "study"], ["note", "study", "kept"], ["init", "mine"]]


@pytest.mark.parametrize("arguments", COMMANDS, ids=[words[0] for words in COMMANDS])
def test_a_command_on_a_full_disk_is_one_line_that_names_the_disk(project, typed, arguments):
    assert sweep("+x=1,2").returncode == 0
    fill(project)
    code, _, error = typed(*arguments)
    assert code == 1
    assert error == (
        f"{WORDS}: the disk of {project} is full; once that is mended, repeat the command"
    )


def test_a_study_names_the_disk_and_no_savepoint(project):
    assert sweep("+x=1,2").returncode == 0
    fill(project)
    done = sweep("+x=1,2,3")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"(database or disk is full: the disk of {project}/multirun is full)" in last
    assert "what was measured is kept in multirun/study; once it does, continue with: " in last


def test_models_are_removed_from_a_full_disk(project, typed):
    assert sweep("+x=1,2").returncode == 0
    (project / "multirun/study/0/model.pth").write_bytes(bytes(100_000))
    fill(project)
    assert typed("clean", "--yes")[1].endswith("Removed: 100 kB.\n")
    assert typed("show", "study/0")[1].count("removed by clean on ") == 1
