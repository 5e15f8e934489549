"""The database behind a ledger: how it is opened, who may write, and what its failures mean."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import sqlalchemy
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import (
    DataError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    SQLAlchemyError,
)

from hrm_sweep.errors import DatabaseAway, StudyError
from hrm_sweep.system import machine, sqlite_urls
from hrm_sweep.system.locks import locked
from hrm_sweep.system.redact import is_secret, redacted

SECONDS_FOR_A_WRITER = 10
"""How long a writer waits for another one. SQLite does not let Ctrl-C through meanwhile."""
SECONDS_IN_A_TRANSACTION = 60
"""PostgreSQL ends one that stands still for longer: its machine may be gone, and holds the lock."""
TCP = {
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""For libpq, seconds and milliseconds: a server behind a broken network is given up. The system's
own limits are minutes to hours."""
OF_THE_STATEMENT = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
"""What the asker has done wrong; any other failure is the database's (PEP 249)."""
TOO_MANY_PLACES = ("too many SQL variables", "number of parameters must be")
"""Optuna meets this limit by asking in another way."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_is_read: ContextVar[bool] = ContextVar("_is_read", default=False)


def check(url: str) -> None:
    """Check that a URL names a database that can keep studies.

    Raises:
        StudyError: it does not.
    """
    if not (sqlite_urls.path_of(url) or url.startswith("postgresql")):
        raise unusable(url, "must be a database of SQLite or PostgreSQL")


def unusable(url: str, why: str) -> StudyError:
    """Return the error for a database that cannot be used from the start."""
    return StudyError(
        f"hydra.sweeper.storage={shown(url)}: {why}; "
        "give a database that can be written, such as sqlite:///multirun/optuna.db"
    )


def cannot_be_opened(url: str, error: BaseException) -> StudyError:
    """Return the error for a database that cannot be opened, with the way out that it has."""
    cause = getattr(error, "orig", None) or error  # without the text that SQLAlchemy adds
    why = machine.describe(cause, sqlite_urls.path_of(url)) or first_line(cause)
    if is_damage(why):
        return damaged(url, why)
    return unusable(url, f"cannot be opened ({why})")


def damaged(url: str, why: str) -> StudyError:
    """Return the error for an SQLite file whose content is destroyed."""
    path = sqlite_urls.path_of(url)
    return StudyError(
        f"hydra.sweeper.storage={shown(url)}: is damaged ({why}); move it away, and each study is "
        f"rebuilt from its folder when it is resumed: mv {path} {path}.damaged"
    )


def is_damage(why: str) -> bool:
    """Return whether SQLite says that its file is destroyed, and not busy or out of reach."""
    return "file is not a database" in why or "malformed" in why


def shown(url: str) -> str:
    """Return a URL without its password, wherever that stands."""
    try:
        whole = sqlalchemy.make_url(url)
        secrets = [name for name in whole.query if is_secret(name)]
        return whole.difference_update_query(secrets).render_as_string()  # masks the usual place
    except SQLAlchemyError:
        return redacted(url)


def first_line(error: BaseException) -> str:
    """Without secrets."""
    lines = redacted(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def options(url: str) -> dict[str, Any]:
    """For SQLAlchemy's `create_engine`."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": SECONDS_FOR_A_WRITER}}
    asked = sqlalchemy.make_url(url).query
    limits = {name: value for name, value in TCP.items() if name not in asked}
    return {"connect_args": limits, "pool_pre_ping": True}  # it may have been restarted


def guard(engine: sqlalchemy.Engine, url: str) -> None:
    """Let failures of the database be known as such, whoever asked it, and writers queue."""
    _name_failures(engine, url)
    if url.startswith("sqlite"):
        _take_write_locks_early(engine)


def lock_study(connection: sqlalchemy.Connection, name: str) -> None:
    """Make a transaction the only one on a study, which need not exist yet, until it ends.

    On SQLite it is the only one of the database since it began, by BEGIN IMMEDIATE.
    """
    if connection.dialect.name == "sqlite":
        return
    limit = f"SET LOCAL idle_in_transaction_session_timeout = '{SECONDS_IN_A_TRANSACTION}s'"
    connection.exec_driver_sql(f"{limit}; {_lock(f'study {name}')}")


def reading(ask: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return a function that only reads as one that does not queue with the writers of SQLite."""

    @functools.wraps(ask)
    def read(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        token = _is_read.set(True)
        try:
            return ask(*args, **kwargs)
        finally:
            _is_read.reset(token)

    return read


@contextmanager
def first_start(url: str) -> Iterator[None]:
    """Held by one process at a time; the kernel or the database frees it when the holder dies."""
    path = sqlite_urls.path_of(url)
    if path is not None:
        with locked(path.with_name(f".{path.name}.lock")):
            yield
        return
    engine = sqlalchemy.create_engine(url, connect_args=options(url)["connect_args"])
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(_lock("tables"))
            yield
    finally:
        engine.dispose()


def _lock(what: str) -> str:
    """PostgreSQL knows locks by a number, in each database; it is the same on every machine."""
    key = int(hashlib.sha256(f"hrm_sweep {what}".encode()).hexdigest()[:15], 16)
    return f"SELECT pg_advisory_xact_lock({key})"


def _name_failures(engine: sqlalchemy.Engine, url: str) -> None:
    @sqlalchemy.event.listens_for(engine, "handle_error")
    def name_it(failure: ExceptionContext) -> None:
        error = failure.sqlalchemy_exception
        if error is None or failure.is_pre_ping or isinstance(error, OF_THE_STATEMENT):
            return
        cause = failure.original_exception  # of a full disk's only the first error says so
        reason = machine.describe(cause, sqlite_urls.path_of(url)) or first_line(cause)
        if is_damage(reason):
            raise damaged(url, reason)
        if not any(words in reason for words in TOO_MANY_PLACES):
            raise DatabaseAway(shown(url), reason)


def _take_write_locks_early(engine: sqlalchemy.Engine) -> None:
    """Begin transactions with the write lock, but for those of `reading`.

    Optuna reads before it writes, and SQLite ignores its FOR UPDATE: two processes would get the
    same waiting trial. With BEGIN IMMEDIATE one of them waits.
    """

    @sqlalchemy.event.listens_for(engine, "connect")
    def manual_begin(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN" if _is_read.get() else "BEGIN IMMEDIATE")

    engine.dispose()  # connections made before the listeners were
