"""A store that was moved or copied has its artifacts where it is now."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from hrm_sweep.system.sqlite_urls import url_of
from hrm_sweep.tracking import store
from hrm_sweep.tracking.client import connect
from hrm_sweep.tracking.moved_store import follow


def uri_of(project: Path) -> str:
    return url_of(project / "mlruns" / "mlflow.db")


def export(project: Path, name: str) -> None:
    """Export a run with one file, as the exporter of a study does."""
    (project / "mlruns").mkdir(parents=True, exist_ok=True)
    run = connect(uri_of(project), "any").create(name, name=name, start_ms=1, tags={})
    (project / "file.txt").write_text(name)
    run.files.send(project / "file.txt", "file.txt")


def exported(project: Path) -> dict[str, str]:
    """Return the content of the file of each run of the one experiment."""
    client = MlflowClient(uri_of(project))
    (experiment,) = [each for each in client.search_experiments() if each.name != "Default"]
    runs = client.search_runs([experiment.experiment_id])
    root = project / "mlruns" / "artifacts"
    assert {run.info.artifact_uri for run in runs} == {
        (root / run.info.run_id / "artifacts").as_uri() for run in runs
    }
    return {
        str(run.info.run_name): Path(
            client.download_artifacts(run.info.run_id, "file.txt")
        ).read_text()
        for run in runs
    }


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines of ours; MLflow logs that it creates tables."""
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("MLflow: ")]


@pytest.fixture
def one(tmp_path: Path) -> Path:
    export(tmp_path / "one", "first")
    return tmp_path / "one"


@pytest.mark.parametrize("name", ["two", "a%41b", "a?b #1"])
def test_a_moved_store_is_found_and_continued(one, tmp_path, capsys, name):
    two = one.rename(tmp_path / name)
    follow(uri_of(two))
    assert said(capsys) == [
        f"MLflow: {two}/mlruns was {one}/mlruns before; its 3 addresses of files follow"
    ]
    assert exported(two) == {"first": "first"}
    export(two, "second")
    assert exported(two) == {"first": "first", "second": "second"}
    assert not one.exists()
    assert said(capsys) == []


def test_a_copy_and_its_original_have_files_of_their_own(one, tmp_path):
    two = tmp_path / "two"
    shutil.copytree(one, two)
    export(two, "of the copy")
    export(one, "of the original")
    assert exported(two) == {"first": "first", "of the copy": "of the copy"}
    assert exported(one) == {"first": "first", "of the original": "of the original"}


def test_the_files_of_a_database_that_was_copied_alone_are_found_where_they_are(one, tmp_path):
    (tmp_path / "two" / "mlruns").mkdir(parents=True)
    shutil.copy(one / "mlruns" / "mlflow.db", tmp_path / "two" / "mlruns")
    export(tmp_path / "two", "second")
    client = MlflowClient(uri_of(tmp_path / "two"))
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    places = {run.info.run_name: run.info.artifact_uri for run in runs}
    assert places["first"].startswith(one.as_uri())
    assert places["second"].startswith((tmp_path / "two").as_uri())
    assert len(list((one / "mlruns" / "artifacts").iterdir())) == 1


def test_a_store_under_another_name_of_its_folder_stays_as_it_is(one, tmp_path, capsys):
    (tmp_path / "link").symlink_to(one)
    follow(uri_of(tmp_path / "link"))
    assert said(capsys) == []
    assert exported(one) == {"first": "first"}


def test_artifacts_that_were_never_beside_the_database_stay_where_they_are(tmp_path, capsys):
    (tmp_path / "db").mkdir()
    uri = f"sqlite:///{tmp_path}/db/mlflow.db"
    client = MlflowClient(uri)  # MLflow's own way: below the current folder, by their ids
    made = client.create_experiment("theirs", f"file://{tmp_path}/elsewhere/7")
    before = client.get_experiment(made).artifact_location
    follow(uri)
    assert client.get_experiment(made).artifact_location == before
    assert said(capsys) == []


def test_an_error_in_between_leaves_all_addresses_as_they_were(one, tmp_path):
    two = one.rename(tmp_path / "two")
    path = two / "mlruns" / "mlflow.db"
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TRIGGER full BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    )
    connection.commit()
    before = connection.execute("SELECT artifact_location FROM experiments").fetchall()
    with pytest.raises(store.TrackingError, match=r"mlflow\.db: was moved here, .*disk is full"):
        follow(uri_of(two))
    assert connection.execute("SELECT artifact_location FROM experiments").fetchall() == before
    connection.close()
