"""The address is checked at once, and the database is built once, whatever happens meanwhile."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest
from truth import Truth, fresh_database

from hrm_sweep.errors import TrackingError
from hrm_sweep.tracking.client import MlflowClient, connect
from hrm_sweep.tracking.moved_store import follow
from hrm_sweep.tracking.store import build, check, database_path, may_hold, resolve_uri


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def works(path: Path) -> None:
    """The database takes an experiment and a run, and SQLite finds no fault in it."""
    uri = f"sqlite:///{path}"
    check(uri)
    truth = Truth(uri)
    experiment = truth.client.create_experiment(f"try {time.time_ns()}")
    truth.client.create_run(experiment)
    assert truth.select("PRAGMA integrity_check") == [("ok",)]


class TestTheAddress:
    @pytest.mark.parametrize(
        ("uri", "resolved"),
        [
            pytest.param(None, "sqlite:///{cwd}/mlruns/mlflow.db", id="default"),
            pytest.param("", "sqlite:///{cwd}/mlruns/mlflow.db", id="empty"),
            pytest.param("sqlite:///my/runs.db", "sqlite:///{cwd}/my/runs.db", id="relative"),
            pytest.param("sqlite:////my/runs.db", "sqlite:////my/runs.db", id="absolute"),
            pytest.param("http://localhost:5000/", "http://localhost:5000", id="server"),
            pytest.param("https://h/a/b", "https://h/a/b", id="TLS"),
            pytest.param("postgresql://me@h/d", "postgresql://me@h/d", id="PostgreSQL"),
            pytest.param("mysql+pymysql://h/d", "mysql+pymysql://h/d", id="driver"),
            pytest.param("databricks", "databricks", id="Databricks"),
        ],
    )
    def test_is_made_absolute(self, tmp_path, monkeypatch, uri, resolved):
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert resolve_uri(uri) == resolved.format(cwd=tmp_path)

    def test_comes_from_the_environment_if_none_is_given(self, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:1")
        assert resolve_uri(None) == "http://there:1"
        assert resolve_uri("http://here:2") == "http://here:2"

    @pytest.mark.parametrize(
        ("uri", "words"),
        [
            pytest.param(
                "./runs",
                r"tracking\.uri=\./runs: must begin with http://, https:// or a database's name "
                r"\(MLflow keeps no runs in plain folders any more\); try sqlite:////.*/runs/mlflow\.db",
                id="folder",
            ),
            pytest.param("file:///runs", r"try sqlite:////runs/mlflow\.db", id="file"),
            pytest.param("localhost:5000", "try http://localhost:5000", id="no scheme"),
            pytest.param("sqlite://", "must name a file", id="no path"),
            pytest.param("sqlite:///:memory:", "must name a file", id="memory"),
            pytest.param("ftp://me:c4n4ry@h", r"ftp://me:\*\*\*@h", id="password hidden"),
        ],
    )
    def test_that_cannot_be_used_is_refused_with_a_way_out(self, uri, words):
        with pytest.raises(TrackingError, match=words) as caught:
            resolve_uri(uri)
        assert "c4n4ry" not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_of_a_database_has_a_path(self):
        assert database_path("sqlite:////a/b.db?timeout=3") == Path("/a/b.db")
        assert database_path("http://h") is None


class TestBuilding:
    def test_leaves_one_whole_file_and_can_be_repeated(self, tmp_path):
        path = tmp_path / "mlruns" / "mlflow.db"
        path.parent.mkdir()
        (path.parent / ".mlflow.db.123").write_text("left by a killed process")
        (path.parent / ".mlflow.db.123-journal").write_text("and its journal")
        build(path)
        assert names(path.parent) == [".mlflow.db.lock", "mlflow.db"]
        before = path.stat()
        build(path)
        assert path.stat() == before
        works(path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_where_nothing_can_be_written_says_so(self, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(TrackingError, match="cannot be created"):
            build(tmp_path / "mlruns" / "mlflow.db")

    def test_under_a_file_says_so(self, tmp_path):
        (tmp_path / "mlruns").write_text("a file")
        with pytest.raises(TrackingError, match=r"mlflow\.db: cannot be created"):
            build(tmp_path / "mlruns" / "mlflow.db")


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41b", "a b'\"&;", "a{b}", "ä日本", "a\nb"])
def test_a_folder_of_any_name_has_all_that_mlflow_writes(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = resolve_uri(None)
    run = connect(uri, "any").create("record", name="run", start_ms=1, tags={})
    (folder / "file.txt").write_text("content")
    run.files.send(folder / "file.txt", "file.txt")
    copied = MlflowClient(uri).download_artifacts(run.run_id, "file.txt", str(folder))
    assert Path(copied).read_text() == "content"
    assert names(tmp_path) == [name]
    assert sorted(names(folder / "mlruns")) == [".mlflow.db.lock", "artifacts", "mlflow.db"]


class TestADatabaseOfAnotherVersion:
    """`check` knows revisions without importing MLflow; MLflow itself is the judge here."""

    def test_or_of_this_one_is_accepted(self, tmp_path):
        check(fresh_database(tmp_path))
        check(f"sqlite:///{tmp_path}/none.db")
        check("http://nobody:1")

    def test_newer_is_named(self, tmp_path):
        uri = fresh_database(tmp_path)
        set_revision(uri, "f00dfeedbeef")
        words = r"made by a newer MLflow than the [\d.]+ that is installed here; run: pip install"
        with pytest.raises(TrackingError, match=words):
            check(uri)

    @pytest.mark.parametrize("content", [b"", b"no database" * 1000])
    def test_or_no_database_at_all_is_named(self, tmp_path, content):
        (tmp_path / "mlflow.db").write_bytes(content)
        with pytest.raises(TrackingError, match=r"no MLflow database .*; move the file away"):
            check(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.slow  # SQLite waits for twenty seconds
def test_a_locked_database_is_left_to_the_process_that_has_it(tmp_path):
    """It may have been stopped in a transaction, by Ctrl-Z; nothing can be said of its content."""
    uri = fresh_database(tmp_path)
    connection = sqlite3.connect(uri.removeprefix("sqlite:///"))
    connection.execute("BEGIN EXCLUSIVE")
    check(uri)
    follow(uri)
    assert may_hold(uri, "1/0")
    connection.close()
    assert not may_hold(uri, "1/0")


def set_revision(uri: str, revision: str) -> None:
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()
