"""Where MLflow keeps its runs: the address, and the SQLite database that needs no server.

MLflow is imported only to build a database, so that a study can check its address at its start.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sqlite3
import time
from pathlib import Path

from hrm_sweep.compat import mlflow
from hrm_sweep.errors import TrackingError
from hrm_sweep.system import files, process, shell, sqlite_urls
from hrm_sweep.system.locks import locked
from hrm_sweep.system.redact import redacted

SERVERS = ("http", "https", "databricks")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
ARTIFACTS = "artifacts"
"""Folder of the runs' files, beside a database."""
SECONDS_TO_ANSWER = 2.0
_SQLITE = "sqlite:///"
DEFAULT = f"{_SQLITE}mlruns/mlflow.db"
QUIET_SECONDS, POLL_SECONDS = 3.0, 0.05
"""A process that has not written for so long does not create a database, or is dead."""


def resolve_uri(uri: str | None) -> str:
    """Return the address that runs are sent to, with an absolute path where it has one.

    Args:
        uri: None takes MLFLOW_TRACKING_URI from the environment, or, where that is not set, a
            database in `mlruns/` of the current folder.

    Raises:
        TrackingError: MLflow cannot keep runs there.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT
    scheme = re.split(r"[:+]", uri, maxsplit=1)[0] if ":" in uri else uri
    if scheme not in SERVERS + DATABASES:
        shown = redacted(uri)
        folder = Path(shown.removeprefix("file://")).absolute()
        way_out = sqlite_urls.url_of(folder / "mlflow.db")
        if re.fullmatch(r"[\w.-]+:\d+", uri):
            way_out = f"http://{uri}"
        raise TrackingError(
            f"tracking.uri={shown}: must begin with http://, https:// or a database's name "
            f"(MLflow keeps no runs in plain folders any more); try {way_out}"
        )
    if scheme != "sqlite":
        return uri.rstrip("/")
    path = sqlite_urls.path_of(uri)
    if path is None or path.name in ("", ":memory:"):
        raise TrackingError(
            f"tracking.uri={uri}: must name a file that several processes can open; "
            f"try {_SQLITE}mlruns/mlflow.db"
        )
    return sqlite_urls.url_of(path.absolute())


def database_path(uri: str) -> Path | None:
    """Return the absolute path of a SQLite database, None if the address is none."""
    path = sqlite_urls.path_of(uri)
    return path.absolute() if path else None


def check(uri: str) -> None:
    """Check that the installed MLflow, which is not imported, can use a database or create it.

    Waits for a database that another process creates, such as the user's own MLflow. One that
    another process keeps locked is checked when it is written to.

    Raises:
        TrackingError: it was made by another version; the message has the command that helps.
        InputError: its folder cannot be written.
    """
    path = database_path(uri)
    if path is None:
        return
    files.check_writable(path.parent)
    if not path.exists():
        return
    while _is_being_created(path):
        time.sleep(POLL_SECONDS)
    if (found := _revision(path)) is None:
        return
    version = importlib.metadata.version("mlflow")
    migrations = mlflow.num_migrations_naming(found)
    if not migrations:
        raise TrackingError(
            f"{path}: made by a newer MLflow than the {version} that is installed here; "
            "run: pip install --upgrade mlflow"
        )
    if migrations > 1:
        raise TrackingError(
            f"{path}: made by an older MLflow than the {version} that is installed here; "
            f"copy the file to keep it, then run: mlflow db upgrade {shell.quote(uri)}"
        )


def has_experiment(uri: str, name: str) -> bool:
    """Return whether there is an experiment of that name, or no answer without waiting."""
    path = database_path(uri)
    if path is None:
        return not (uri.startswith("http") and _server_lacks(uri, name))
    try:
        return path.exists() and name in mlflow.experiment_names(path)
    except sqlite3.Error:
        return False


def _server_lacks(uri: str, name: str) -> bool:
    """Return whether a server says that it has no such experiment; not if it says nothing.

    Two tasks whose MLflow calls create it at once would fail.
    """
    from http import HTTPStatus
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.parse import urlencode
    from urllib.request import urlopen

    query = urlencode({"experiment_name": name})
    address = f"{uri}/api/2.0/mlflow/experiments/get-by-name?{query}"
    try:
        urlopen(address, timeout=SECONDS_TO_ANSWER).close()
    except HTTPError as error:
        return error.code == HTTPStatus.NOT_FOUND
    except (OSError, ValueError, HTTPException):  # it is away, or its address has a password
        return False
    return False


def may_hold(uri: str, identity: str) -> bool:
    """Whether the experiment of that identity (see `mlflow.Destination`) may be at the address.

    A SQLite database is looked into; only it is easily deleted or replaced.
    """
    path = database_path(uri)
    if path is None:
        return True
    if not path.exists():
        return False
    try:
        return identity in (identity_of(*row) for row in mlflow.experiments(path))
    except sqlite3.Error as error:
        return is_locked(error)


def identity_of(experiment_id: object, creation_time: object) -> str:
    """Return text that no other experiment has, wherever its server moves to."""
    return f"{experiment_id}/{creation_time}"


def ui_hint(uri: str | None) -> str:
    """Return how to look at the runs at an address; None is the default one."""
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri and uri.startswith("http"):
        return f"{redacted(uri)} in a browser"
    where = f"MLFLOW_TRACKING_URI={shell.quote(redacted(uri))} " if uri else ""
    return where + process.hrm_sweep_command("ui")


def build(path: Path) -> None:
    """Create the database `path` if there is none, whole or not at all.

    Any number of processes may call this at once, and any of them may be killed inside: MLflow's
    own first start survives neither, so it happens in a temporary file, once, under a lock. A
    database that MLflow itself has begun in the meantime is left to it.

    Raises:
        TrackingError: the folder cannot be written.
    """
    if path.exists():
        return
    try:
        with locked(lock_of(path)):
            for left_by_the_killed in path.parent.glob(f".{path.name}.[0-9]*"):
                left_by_the_killed.unlink()
            if not path.exists():
                with files.creating(path) as temporary:
                    mlflow.create_tables(temporary, artifact_root(path))
    except OSError as error:
        raise TrackingError(
            f"{path}: cannot be created ({error.strerror}); run in a folder of yours, or name "
            f"another place: tracking.uri={_SQLITE}/PATH/mlflow.db"
        ) from error


def is_locked(error: Exception) -> bool:
    """Return whether SQLite has waited in vain for a process that writes, or was stopped in it."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def lock_of(database: Path) -> Path:
    """Return the file that is locked while a database is built or its addresses are changed."""
    return database.with_name(f".{database.name}.lock")


def artifact_root(database: Path) -> str:
    """Return the URI of the folder for artifacts beside a database."""
    return (database.parent / ARTIFACTS).as_uri()


def local_files(uri: str, run_id: str) -> Path | None:
    """Return the folder of a run's files in a store of our own; None if it is another one."""
    path = database_path(uri)
    return path.parent / ARTIFACTS / run_id / ARTIFACTS if path else None


def _is_being_created(path: Path) -> bool:
    """Whether another process creates the tables of a database now; MLflow holds no lock then.

    It commits one migration after the other, and inserts the first experiment last.
    """
    try:
        if mlflow.experiments(path):
            return False
    except sqlite3.OperationalError:  # no such table yet, or locked
        pass
    except sqlite3.DatabaseError:
        return False
    journal = path.with_name(f"{path.name}-journal")
    ages = [time.time() - file.stat().st_mtime for file in (path, journal) if file.exists()]
    return any(0 <= age < QUIET_SECONDS for age in ages)


def _revision(path: Path) -> str | None:
    """Return the revision of a database's tables, None if another process keeps it locked."""
    try:
        return mlflow.schema_revision(path)
    except (sqlite3.Error, ValueError) as error:
        if is_locked(error):
            return None
        raise TrackingError(
            f"{path}: no MLflow database ({error}); move the file away, a new one is made then"
        ) from error
