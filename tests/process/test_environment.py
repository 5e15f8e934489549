"""What is told of the code that computes."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hrm_sweep.commands import reproduction
from hrm_sweep.hrm.app import _Task
from hrm_sweep.hrm.description import APP
from hrm_sweep.launch.job import Job
from hrm_sweep.runs.app import App
from hrm_sweep.system import environment, names


@pytest.fixture
def repository(tmp_path) -> Path:
    """A committed app, and beside it an environment that git does not keep."""
    folder = tmp_path / "project"
    (folder / "environment").mkdir(parents=True)
    (folder / "environment" / "library.py").touch()
    (folder / "app.py").write_text("x = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", "app.py")
    git(folder, "-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "app")
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)
    return done.stdout.decode().strip()


def test_the_commit_is_that_of_the_code_wherever_it_is_started(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = environment.environment(repository)
    assert (facts["git_commit"], facts["git_dirty"]) == (
        git(repository, "rev-parse", "HEAD"),
        False,
    )
    assert (
        environment.environment_tags(repository)["mlflow.source.git.commit"] == facts["git_commit"]
    )


def test_code_that_its_repository_does_not_keep_has_no_commit(repository, monkeypatch):
    monkeypatch.chdir(repository)
    facts = environment.environment(repository / "environment")
    assert (facts["git_commit"], facts["git_changes"]) == (None, None)
    assert "mlflow.source.git.commit" not in environment.environment_tags(
        repository / "environment"
    )


def test_the_code_of_a_task_is_found(repository, monkeypatch):
    assert Job(_Task(None, None), APP).source == environment.PACKAGE / "hrm"
    monkeypatch.syspath_prepend(os.fspath(repository))
    (repository / "app.py").write_text("def task(cfg):\n    return 1.0\n")
    import app  # type: ignore[import-not-found]

    monkeypatch.delitem(sys.modules, "app")
    assert Job(app.task, APP).source == repository


def test_only_a_commit_that_is_known_is_called_the_same(repository, tmp_path):
    for folder, told in ((repository, "same commit"), (tmp_path, "no commit known")):
        then = SimpleNamespace(
            environment=environment.environment(folder), config={}, app=App.of_command(["app.py"])
        )
        differing = reproduction.environment_differences(then, None)
        same = reproduction.environment_lines(then, differing)
        assert same == [f"same versions, same CPU, {told}"]


def test_a_new_name_is_of_no_folder_that_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(names.secrets, "choice", lambda words: words[0])
    name = names.new_name(tmp_path)
    (tmp_path / name).mkdir()
    assert names.new_name(tmp_path / "elsewhere", tmp_path) == f"{name}-badger"
