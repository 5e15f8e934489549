"""The ledger: Optuna's storage, opened so that several processes may share it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast, get_args

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from hrm_sweep import files
from hrm_sweep.errors import StudyError

Direction = Literal["maximize", "minimize"]

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the screen shows trials, not Optuna's log


class Ledger:
    """The storage at an SQLAlchemy URL, created on first use.

    Optuna builds its tables without a lock: of processes that start at once on a fresh database
    many crash. They queue here instead.

    Raises:
        StudyError: the URL, the folder or the database cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            with files.locked(self._lock_file):
                self.storage = RDBStorage(url, engine_kwargs=_engine_options(url))
        except (OSError, SQLAlchemyError, ValueError, ImportError, RuntimeError) as error:
            raise StudyError(
                f"study.storage={shown(url)}: cannot be opened ({_first_line(error)}); "
                "give a database that can be written, such as sqlite:///multirun/optuna.db"
            ) from None
        if self._is_sqlite:
            _take_write_locks_early(self.storage.engine)

    def open_study(self, name: str, direction: str) -> optuna.Study:
        """The study of that name, created if it is new.

        Raises:
            StudyError: the direction is none, or not the one that the study was made with.
        """
        if direction not in get_args(Direction):
            raise StudyError(f"study.direction={direction}: must be maximize or minimize")
        with self.exclusive():
            study = optuna.create_study(
                storage=self.storage,
                study_name=name,
                direction=cast(Direction, direction),
                load_if_exists=True,
            )
        made_to = study.direction.name.lower()
        if made_to != direction:
            raise StudyError(
                f"study.direction={direction}: study {name} was made to {made_to}; "
                "keep to that, or take another study.name"
            )
        return study

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """One process at a time, for what reads the study and then writes what follows from it.

        The database's own lock where it has one that other machines see, else a lock file.
        """
        if self.storage.engine.dialect.name != "postgresql":
            with files.locked(self._lock_file):
                yield
            return
        key = int(_digest(self._url), 16) % 2**63
        with self.storage.engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({key})"))
            try:
                yield
            finally:
                connection.execute(sqlalchemy.text(f"SELECT pg_advisory_unlock({key})"))

    def put_back(self, trial: optuna.Trial | optuna.trial.FrozenTrial) -> None:
        """Makes a running trial wait again: the next `ask` hands it out under its number, with its
        parameters, attributes and reported values. Optuna does this without saying so in its
        documentation; a test holds it to that."""
        self.storage.set_trial_state_values(trial._trial_id, state=TrialState.WAITING)

    @property
    def _is_sqlite(self) -> bool:
        return self._url.startswith("sqlite")

    @property
    def _lock_file(self) -> Path:
        if self._url.startswith("sqlite:///"):
            path = Path(self._url.removeprefix("sqlite:///"))
            return path.with_name(f".{path.name}.lock")
        return Path(tempfile.gettempdir()) / f"hrm_sweep-{os.getuid()}-{_digest(self._url)}.lock"


def shown(url: str) -> str:
    """The URL as a person may see it: without user and password."""
    return sqlalchemy.make_url(url).set(username=None, password=None).render_as_string()


def _engine_options(url: str) -> dict[str, Any]:
    # A second writer waits for the first instead of failing.
    return {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


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
