"""Canaries of MLflow's internals that compat/mlflow.py uses."""

import sqlite3

import pytest
from mlflow.store.db import utils
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient

from hrm_sweep.compat import mlflow as compat


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    compat.create_tables(path, (path.parent / "artifacts").as_uri())
    return path


def test_created_tables_are_a_tracking_store(database):
    experiment = MlflowClient(f"sqlite:///{database}").get_experiment("0")
    assert experiment.artifact_location == f"file://{database.parent}/artifacts/0"


def test_experiments_are_read_with_their_creation_time(database):
    client = MlflowClient(f"sqlite:///{database}")
    made = client.get_experiment(client.create_experiment("another"))
    assert (int(made.experiment_id), made.creation_time) in compat.experiments(database)
    assert compat.experiment_names(database) >= {"Default", "another"}


def test_one_migration_names_the_revision_of_new_tables(database):
    assert compat.num_migrations_naming(compat.schema_revision(database)) == 1
    assert compat.num_migrations_naming("0123456789ab") == 0


def test_a_file_of_another_kind_has_no_revision(tmp_path):
    sqlite3.connect(tmp_path / "other.db").close()
    with pytest.raises(sqlite3.Error):
        compat.schema_revision(tmp_path / "other.db")


def test_dropped_connections_see_a_replaced_file(database, tmp_path):
    path, uri = tmp_path / "mlflow.db", f"sqlite:///{tmp_path}/mlflow.db"
    path.write_bytes(database.read_bytes())
    MlflowClient(uri).create_experiment("old")
    assert uri in SqlAlchemyStore._engine_map, "MLflow keeps its engines elsewhere"
    path.unlink()
    path.write_bytes(database.read_bytes())
    compat.drop_connections(uri)
    assert MlflowClient(uri).get_experiment_by_name("old") is None


def test_the_number_of_retries_is_a_module_constant_that_is_read_when_connecting(monkeypatch):
    monkeypatch.setattr(utils, "MAX_RETRY_COUNT", 15)
    compat.limit_connection_retries()
    assert utils.MAX_RETRY_COUNT == 1
    assert "MAX_RETRY_COUNT" in utils.create_sqlalchemy_engine_with_retry.__code__.co_names


def test_addresses_are_in_columns_of_these_names(database):
    with sqlite3.connect(database) as connection:
        for table, column in compat.ADDRESSES:
            connection.execute(f"SELECT {column} FROM {table}")
    connection.close()
    client = MlflowClient(f"sqlite:///{database}")
    client.create_run(client.create_experiment("with a run", "file:///before/artifacts"))
    changed = compat.replace_addresses(database, lambda old: old.replace("/before/", "/now/"))
    assert changed == 2, "MLflow keeps addresses elsewhere"
    assert "file:///now/artifacts" in compat.experiment_locations(database)


def test_a_file_of_a_run_can_be_deleted_alone_and_twice(database, tmp_path):
    client = MlflowClient(f"sqlite:///{database}")
    run = client.create_run(client.create_experiment("files", (tmp_path / "files").as_uri()))
    for name in ("kept", "removed"):
        (tmp_path / name).touch()
        client.log_artifact(run.info.run_id, str(tmp_path / name), "folder")
    for _ in range(2):
        compat.delete_file(
            run.info.artifact_uri, "folder/removed", tracking_uri=client.tracking_uri
        )
    left = client.list_artifacts(run.info.run_id, "folder")
    assert [file.path for file in left] == ["folder/kept"]


def test_what_a_database_fails_at_is_logged_by_one_logger():
    assert utils._logger.name == "mlflow.store.db.utils"
