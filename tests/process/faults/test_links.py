"""Symbolic links in a study's folder, which may come from another user, lead nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from studies import STUDY, command
from truth import Truth

from hrm_sweep.report.html import pictures_of
from hrm_sweep.runs.record import Record
from hrm_sweep.runs.run import Run
from hrm_sweep.system import files
from hrm_sweep.system.locks import FileLock
from hrm_sweep.tracking.exporter_process import sync

SECRET = "the user's own"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's with a file, outside of the study's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "file").write_text(SECRET)
    return tmp_path / "home"


def is_untouched(own: Path) -> bool:
    return [(path.name, path.read_text()) for path in own.iterdir()] == [("file", SECRET)]


@pytest.mark.parametrize(
    "name",
    [
        "record.jsonl",
        "run.log",
        "parabola.log",
        "result.json",
        ".",
    ],
)
@pytest.mark.parametrize("launcher", ["pool", "basic"])
def test_a_trial_is_not_written_through_one(own, name, launcher):
    trial = STUDY / "0"
    trial.parent.mkdir(parents=True)
    if name == ".":
        trial.symlink_to(own)
    else:
        trial.mkdir()
        (trial / name).symlink_to(own / "file")
    done = subprocess.run(
        command("+x=1", f"hydra/launcher={launcher}"), capture_output=True, text=True, check=False
    )
    if name == "result.json":  # is replaced
        assert done.returncode == 0, done.stderr
        assert not (trial / name).is_symlink()
    elif launcher == "pool" or name in ("record.jsonl", "."):
        assert "symbolic link" in " ".join((done.stdout + done.stderr).split()), done
    if (launcher, name) != ("basic", "."):  # Hydra itself opens its log there, and writes nothing
        assert is_untouched(own)
    assert (own / "file").read_text() == SECRET


def test_a_temporary_file_is_not_one(own):
    target = own.parent / "result.json"
    target.with_name(f".result.json.{os.getpid()}").symlink_to(own / "file")
    files.write_text(target, "{}")
    assert target.read_text() == "{}"
    assert is_untouched(own)


def test_a_lock_is_not_taken_through_one(own):
    (own.parent / ".mlflow.lock").symlink_to(own / "new")
    with pytest.raises(OSError, match="symbolic link"):
        FileLock(own.parent / ".mlflow.lock")
    assert is_untouched(own)


def test_a_file_behind_one_is_not_sent_to_mlflow_and_not_shown(own):
    folder = own.parent / "run"
    names = ["config.yaml", "picture.png", "folder/file"]
    with Record(folder) as record:
        record.append("started", name="run", kind="train", tags={}, params={})
        for name in names[:2]:
            (folder / name).symlink_to(own / "file")
        (folder / "folder").symlink_to(own)
        record.append("finished", outcome="complete", best={}, artifacts=names)
    uri = f"sqlite:///{own.parent}/mlruns/mlflow.db"
    assert sync(folder, uri, "hrm_sweep").runs == 0
    truth = Truth(uri)
    assert SECRET.encode() not in truth.files("run").values()
    refused = truth.run("run").data.tags["hrm_sweep.files_not_sent"]
    assert all(f"{name} is a link out of the run's folder" in refused for name in names)
    assert list(pictures_of(Run.open(folder))) == []


def test_a_folder_of_figures_is_not_one(own):
    subprocess.run(command("+x=1"), check=True, capture_output=True)
    for path in (STUDY / "figures").iterdir():
        path.unlink()
    (STUDY / "figures").rmdir()
    (STUDY / "figures").symlink_to(own)
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "report", "study"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "figures: is a symbolic link to" in done.stderr
    assert is_untouched(own)
