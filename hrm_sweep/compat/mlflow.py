"""Internals of MLflow, read in 3.17.2: its tables, its store and its retries.

MLflow is imported inside the functions that need it, because that takes seconds.
tests/unit/compat/test_mlflow_canary.py holds each function to what is read here.
"""

from __future__ import annotations

import importlib.util
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from hrm_sweep.system import sqlite_urls

ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
"""Tables and columns with absolute addresses of artifacts."""


def drop_connections(uri: str) -> None:
    """Close the pooled connections to the database at a URI.

    MLflow keeps one engine per URI in each process, also after the file was replaced.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if uri in SqlAlchemyStore._engine_map:
        SqlAlchemyStore._engine_map[uri].dispose()


def limit_connection_retries() -> None:
    """Let requests fail at once if the database is away: 15 retries take most of an hour."""
    from mlflow.store.db import utils

    utils.MAX_RETRY_COUNT = 1


def delete_file(artifact_uri: str, name: str, *, tracking_uri: str) -> None:
    """Delete one file of a run, also through a server that hands out its files.

    Raises:
        Exception: whatever the store of the files raises; not if there is no such file.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    store: Any = get_artifact_repository(artifact_uri, tracking_uri=tracking_uri)
    store.delete_artifacts(name)


def log_no_errors_of_databases() -> None:
    """Let MLflow log no traceback and SQL of a database that fails: we say it in a line."""
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def create_tables(path: Path, artifact_root: str) -> None:
    """Create the tables of a tracking store in a SQLite file, without waiting for the disk.

    The caller has to make the file durable.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(Engine, "connect", _disable_fsync)
    try:
        open_store: Any = SqlAlchemyStore  # without annotations
        open_store(sqlite_urls.url_of(path), artifact_root).engine.dispose()
    finally:
        event.remove(Engine, "connect", _disable_fsync)


def schema_revision(path: Path) -> str:
    """Return the Alembic revision of the tables in a SQLite file.

    Raises:
        sqlite3.Error: The file is no MLflow database.
        ValueError: It has no revision, or several.
    """
    with closing(sqlite3.connect(path)) as connection:
        ((revision,),) = connection.execute("SELECT version_num FROM alembic_version")
    return str(revision)


def num_migrations_naming(revision: str) -> int:
    """Return how many migrations of the installed MLflow name a schema revision.

    One migration leads to each revision, and another one from it unless it is the newest.
    """
    package = importlib.util.find_spec("mlflow")
    assert package is not None
    assert package.submodule_search_locations is not None
    folder = Path(package.submodule_search_locations[0], "store", "db_migrations", "versions")
    return sum(revision.encode() in script.read_bytes() for script in folder.glob("*.py"))


def experiments(path: Path) -> list[tuple[int, int]]:
    """Return the id and the creation time, in ms since 1970, of each experiment in a SQLite file.

    Raises:
        sqlite3.Error: The file is no MLflow database.
    """
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT experiment_id, creation_time FROM experiments"
        return connection.execute(query).fetchall()


def experiment_names(path: Path) -> set[str]:
    """Return the names of the experiments in a SQLite file, deleted ones among them.

    Raises:
        sqlite3.Error: The file is no MLflow database.
    """
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM experiments")}


def experiment_locations(path: Path) -> list[str]:
    """Return where the experiments of a SQLite file keep their artifacts.

    Raises:
        sqlite3.Error: The file is no MLflow database.
    """
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT artifact_location FROM experiments")
        return [location for (location,) in rows if location]


def replace_addresses(path: Path, changed: Callable[[str], str]) -> int:
    """Replace the addresses of artifacts in a SQLite file, all in one transaction or none.

    Args:
        changed: returns the new address for an old one, which may be the same.

    Returns:
        How many were replaced.

    Raises:
        sqlite3.Error: The file cannot be written.
    """
    num_replaced = 0
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for table, column in ADDRESSES:
            query = f"SELECT rowid, {column} FROM {table} WHERE {column} LIKE 'file:%'"
            rows = connection.execute(query).fetchall()
            new = [(changed(old), rowid) for rowid, old in rows if changed(old) != old]
            connection.executemany(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", new)
            num_replaced += len(new)
        connection.execute("COMMIT")
    return num_replaced


def _disable_fsync(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")
