"""The ledger: Optuna's storage, opened so that several processes may share it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, Literal, get_args

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from hrm_sweep import files
from hrm_sweep.errors import StudyError

Direction = Literal["maximize", "minimize"]

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the screen shows trials, not Optuna's log


def open_storage(url: str) -> RDBStorage:
    """Opens, and on first use creates, the storage at an SQLAlchemy URL.

    Optuna builds its tables without a lock: of processes that start at once on a fresh database
    many crash. They queue here instead.

    Raises:
        StudyError: the URL, the folder or the database cannot be used.
    """
    try:
        with files.locked(_lock_file(url)):
            storage = RDBStorage(url, engine_kwargs=_engine_options(url))
    except (OSError, SQLAlchemyError, ValueError, ImportError, RuntimeError) as error:
        raise StudyError(
            f"study.storage={shown(url)}: cannot be opened ({_first_line(error)}); "
            "give a database that can be written, such as sqlite:///multirun/optuna.db"
        ) from None
    if url.startswith("sqlite"):
        _take_write_locks_early(storage.engine)
    return storage


def create_study(storage: RDBStorage, name: str, direction: Direction) -> optuna.Study:
    """A new study.

    Raises:
        StudyError: the direction is none, or there is a study of that name.
    """
    if direction not in get_args(Direction):
        raise StudyError(f"study.direction={direction}: must be maximize or minimize")
    try:
        return optuna.create_study(storage=storage, study_name=name, direction=direction)
    except optuna.exceptions.DuplicatedStudyError:
        raise StudyError(
            f"study.name={name}: there is a study of that name; "
            "take another, or leave study.name out for a new one"
        ) from None


def shown(url: str) -> str:
    """The URL as a person may see it: without user and password."""
    return sqlalchemy.make_url(url).set(username=None, password=None).render_as_string()


def _engine_options(url: str) -> dict[str, Any]:
    # A second writer waits for the first instead of failing.
    return {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}


def _lock_file(url: str) -> Path:
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        return path.with_name(f".{path.name}.lock")
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"hrm_sweep-{os.getuid()}-{key}.lock"


def _take_write_locks_early(engine: sqlalchemy.Engine) -> None:
    """Optuna reads before it writes, and SQLite ignores its FOR UPDATE: two processes would be
    handed the same waiting trial. BEGIN IMMEDIATE lets one of them wait."""

    @sqlalchemy.event.listens_for(engine, "connect")
    def manual_begin(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections made before the listeners were


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
