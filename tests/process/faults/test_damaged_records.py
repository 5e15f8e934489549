"""A damaged record concerns its trial only, whatever is wrong with it and whoever meets it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import zlib
from pathlib import Path

import pytest
from studies import STUDY, awaiting, endings, steps, study, sweep, until, written

RECORD = Path("multirun/grid/0/record.jsonl")


def unknown_outcome() -> None:
    lines = RECORD.read_bytes().splitlines(keepends=True)
    fields = json.loads(lines[-1])
    del fields["crc"]
    body = json.dumps(fields | {"outcome": "paused"})[:-1].encode()
    RECORD.write_bytes(b"".join(lines[:-1]) + body + b', "crc": "%08x"}\n' % zlib.crc32(body))


def replaced(old: bytes, new: bytes) -> None:
    RECORD.write_bytes(RECORD.read_bytes().replace(old, new, 1))


def as_folder() -> None:
    RECORD.unlink()
    RECORD.mkdir()


DAMAGES = {
    "a digit": lambda: replaced(b'"step": 5', b'"step": 6'),
    "NULs amid": lambda: replaced(b'"step": 5', bytes(9)),
    "no UTF-8": lambda: replaced(b'"step": 5', b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7"),
    "a line lost": lambda: RECORD.write_bytes(
        b"".join(line for line in RECORD.open("rb") if b'"step": 5' not in line)
    ),
    "first line lost": lambda: RECORD.write_bytes(RECORD.read_bytes().partition(b"\n")[2]),
    "no JSON": lambda: RECORD.write_bytes(b"nothing of ours\n"),
    "a folder": as_folder,
    "a newer version's outcome": unknown_outcome,
}
COMMANDS = {
    "list": ["list"],
    "best": ["best", "grid"],
    "show": ["show", "grid"],
    "report": ["report", "grid"],
    "export": ["export", "grid"],
    "compare": ["compare", "grid", "repeated"],
}


@pytest.fixture
def grid(studies_folder, tmp_path, monkeypatch) -> None:
    """Trials 0, 2 and 4 are complete, and 4 is the best."""
    shutil.copytree(studies_folder / "multirun", tmp_path / "multirun")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.usefixtures("grid")
def test_every_command_continues_with_the_others(typed, damage, command):
    DAMAGES[damage]()
    code, out, err = typed(*COMMANDS[command])
    assert code == 0, err
    assert "Traceback" not in out + err
    if command != "compare":
        assert "left out: " in out + err
        way_out = "newer hrm_sweep" if "newer" in damage else "; set it aside with: mv "
        assert way_out in out + err
    code, out, err = typed("show", "grid/0")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("grid")
def test_an_end_that_is_torn_is_no_damage(typed):
    RECORD.write_bytes(RECORD.read_bytes() + b'{"n": 99, "text": "' + b"x" * (1 << 18))
    code, out, err = typed("best", "grid")
    assert (code, err) == (0, "")
    assert "grid/4" in out


@pytest.mark.usefixtures("grid")
def test_line_ends_of_another_system_are_no_damage(typed):
    RECORD.write_bytes(RECORD.read_bytes().replace(b"\n", b"\r\n"))
    assert typed("show", "grid/0")[0] == 0


@pytest.mark.usefixtures("in_a_folder_of_its_own")
class TestASweep:
    """What it does with records that do not say what Optuna does."""

    def test_runs_a_trial_again_that_was_set_aside(self):
        assert sweep("+x=1,2").returncode == 0
        path = STUDY / "0" / "record.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"step": 5', b'"step": 6'))
        done = sweep("+x=1,2")
        assert done.returncode == 0
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("left out: ")]
        old, new = line.rpartition("; set it aside with: mv ")[2].split()
        Path(old).rename(new)
        done = sweep("+x=1,2")
        assert done.returncode == 0, done.stderr
        assert "2 complete" in done.stdout
        assert steps(0) == [*range(1, 11)]
        assert [trial.value for trial in study().get_trials()] == [1, 0]
        assert "nothing is left to run" in sweep("+x=1,2").stdout

    def test_sets_aside_itself_what_has_no_result(self, start):
        first = start("+x=1,2", awaiting("go", [1]), "hydra.launcher.workers=1")
        until(lambda: steps(0) == [1, 2])
        first.kill()
        path = STUDY / "0" / "record.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"step": 1', b'"step": 7'))
        Path("go").touch()
        done = sweep("+x=1,2", awaiting("go", [1]))
        assert done.returncode == 0, done.stderr
        assert f"it is now {STUDY}/0.damaged, and the trial runs from its beginning" in done.stdout
        assert steps(0) == [*range(1, 11)]

    def test_runs_a_trial_again_whose_record_is_gone(self):
        assert sweep("+x=1,2").returncode == 0
        (STUDY / "0" / "record.jsonl").unlink()
        assert sweep("+x=1,2").returncode == 0
        assert steps(0) == [*range(1, 11)]
        assert [trial.state.name for trial in study().get_trials()] == ["COMPLETE"] * 2

    def test_takes_results_that_a_database_from_a_backup_lacks(self, start):
        running = start("+x=1,2,3", awaiting("go", [1]), "hydra.launcher.workers=1")
        until(lambda: steps(0) == [1, 2])
        with (
            sqlite3.connect("multirun/optuna.db") as known,
            sqlite3.connect("backup.db") as backup,
        ):
            known.backup(backup)
        Path("go").touch()
        assert running.ends() == 0, running.printed
        shutil.move("backup.db", "multirun/optuna.db")
        done = sweep("+x=1,2,3", awaiting("go", [1]))
        assert done.returncode == 0, done.stderr
        assert [trial.state.name for trial in study().get_trials()] == ["COMPLETE"] * 3
        assert [endings(number) for number in range(3)] == [["complete"]] * 3

    def test_writes_the_study_anew_with_all_that_its_trials_had(self):
        assert sweep("+x=1,2").returncode == 0
        (STUDY / "record.jsonl").unlink()
        assert sweep("+x=1,2").returncode == 0
        entries = [each.fields for each in written(STUDY) if each.event == "metrics"]
        known = {each["step"]: each["values"] for each in entries if "objective" in each["values"]}
        assert known == {0: {"objective": 1.0}, 1: {"objective": 0.0}}
