"""The ledger: Optuna's storage, opened so that several processes may share it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast, get_args

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialIntermediateValueModel as CurvePoint
from optuna.storages._rdb.models import TrialModel
from optuna.storages._rdb.models import TrialParamModel as Param
from optuna.storages._rdb.models import TrialUserAttributeModel as Attribute
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import scoped_session, sessionmaker

from hrm_sweep import files
from hrm_sweep.errors import StudyError
from hrm_sweep.redact import redacted

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
        _check(url)
        try:
            with _first_start(url):
                self.storage = RDBStorage(url, engine_kwargs=_engine_options(url))
        except (OSError, SQLAlchemyError, ValueError, ImportError, RuntimeError) as error:
            raise _unusable(url, f"cannot be opened ({_first_line(error)})") from None
        self._lock = f"SELECT pg_advisory_xact_lock({_key_of(url)})"
        if url.startswith("sqlite"):
            self._lock = "SELECT 1"  # BEGIN IMMEDIATE is the lock
            _take_write_locks_early(self.storage.engine)

    def open_study(self, name: str, directions: Sequence[str]) -> optuna.Study:
        """The study of that name, created if it is new.

        Raises:
            StudyError: a direction is none, or not the one that the study was made with.
        """
        for direction in directions:
            if direction not in get_args(Direction):
                raise StudyError(f"study.direction={direction}: must be maximize or minimize")
        with self.exclusive():
            if name not in optuna.get_all_study_names(self.storage):
                wanted = cast("list[Direction]", list(directions))
                optuna.create_study(storage=self.storage, study_name=name, directions=wanted)
        study = optuna.load_study(study_name=name, storage=self.storage)
        made_to = [direction.name.lower() for direction in study.directions]
        if made_to != list(directions):
            raise StudyError(
                f"study.direction={','.join(directions)}: study {name} was made to "
                f"{' and '.join(made_to)}; keep to that, or take another study.name"
            )
        return study

    def delete_study(self, name: str) -> None:
        """Removes a study with all its trials; one that is not there is removed already."""
        with self.exclusive(), contextlib.suppress(KeyError):
            optuna.delete_study(study_name=name, storage=self.storage)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """One process at a time and one transaction, for what reads the study and then writes what
        follows from it: all of it is there, or, after an exception or a kill, nothing.

        Optuna commits after each of its steps, which costs a flush to the disk each time; here its
        sessions join one transaction, and the lock is the database's own, freed at its end.
        """
        alone = self.storage.scoped_session
        with self.storage.engine.begin() as connection:
            connection.exec_driver_sql(self._lock)
            joined = sessionmaker(bind=connection, join_transaction_mode="rollback_only")
            self.storage.scoped_session = scoped_session(joined)
            try:
                yield
            finally:
                self.storage.scoped_session = alone

    def put_back(self, trial: optuna.Trial | optuna.trial.FrozenTrial) -> None:
        """Makes a running trial wait again: it is handed out anew under its number, with its
        parameters, attributes and reported values. Optuna does this without saying so in its
        documentation; a test holds it to that."""
        self.storage.set_trial_state_values(trial._trial_id, state=TrialState.WAITING)

    def report(self, trial: optuna.Trial, curve: Mapping[int, float]) -> None:
        """Adds steps to a running trial's curve, those that it lacks. Optuna takes them one by one,
        in three statements each; these are its own rows, all in one statement."""
        with self.storage.scoped_session() as session:
            known = session.query(CurvePoint.step).filter_by(trial_id=trial._trial_id)
            for step in curve.keys() - {step for (step,) in known}:
                value, kind = CurvePoint.intermediate_value_to_stored_repr(curve[step])
                point = {"intermediate_value": value, "intermediate_value_type": kind}
                session.add(CurvePoint(trial_id=trial._trial_id, step=step, **point))
            session.commit()

    def note(self, trial: optuna.Trial, facts: Mapping[str, Any]) -> None:
        """Sets user attributes of a trial. Like its curve: all in one statement."""
        with self.storage.scoped_session() as session:
            query = session.query(Attribute).filter_by(trial_id=trial._trial_id)
            known = {str(attribute.key): attribute for attribute in query}
            for name, value in facts.items():
                attribute = known.get(name) or Attribute(trial_id=trial._trial_id, key=name)
                attribute.value_json = json.dumps(value)
                session.add(attribute)
            session.commit()

    def widen(self, study: optuna.Study, wider: Mapping[str, BaseDistribution]) -> None:
        """Lets the trials of a study have parameters of wider distributions, with the same values.

        Optuna refuses other choices than a study began with, for its samplers; a grid that grows
        has none. All trials of a parameter have one distribution, as Optuna's figures expect.
        """
        with self.storage.scoped_session() as session:
            query = session.query(Param).join(TrialModel)
            params: Any = query.filter(TrialModel.study_id == study._study_id)
            for param in params:
                old, new = json_to_distribution(param.distribution_json), wider[param.param_name]
                param.param_value = new.to_internal_repr(old.to_external_repr(param.param_value))
                param.distribution_json = distribution_to_json(new)
            session.commit()

    def take(self, study: optuna.Study, trial_id: int) -> optuna.Trial | None:
        """The waiting trial of that id, running from now on; None if it does not wait any more."""
        try:
            taken = self.storage.set_trial_state_values(trial_id, state=TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return None
        return optuna.Trial(study, trial_id) if taken else None


def known_study(url: str, name: str) -> optuna.Study | None:
    """The study of that name, if there is one; creates nothing.

    Raises:
        StudyError: the address cannot be used.
    """
    _check(url)
    path = _sqlite_path(url)
    if path is not None and not path.exists():
        return None
    try:
        engine = sqlalchemy.create_engine(url)
        has_tables = sqlalchemy.inspect(engine).has_table("studies")
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        raise _unusable(url, f"cannot be opened ({_first_line(error)})") from None
    if not has_tables:
        return None
    try:
        return optuna.load_study(study_name=name, storage=Ledger(url).storage)
    except KeyError:
        return None


def shown(url: str) -> str:
    """The URL as a person may see it: without user and password."""
    try:
        return sqlalchemy.make_url(url).set(username=None, password=None).render_as_string()
    except SQLAlchemyError:
        return redacted(url)


def _check(url: str) -> None:
    if not url.startswith(("sqlite:///", "postgresql")):
        raise _unusable(url, "must be a database of SQLite or PostgreSQL")


def _unusable(url: str, why: str) -> StudyError:
    return StudyError(
        f"study.storage={shown(url)}: {why}; "
        "give a database that can be written, such as sqlite:///multirun/optuna.db"
    )


@contextmanager
def _first_start(url: str) -> Iterator[None]:
    """Held by one process at a time; the kernel or the database frees it when the holder dies."""
    path = _sqlite_path(url)
    if path is not None:
        with files.locked(path.with_name(f".{path.name}.lock")):
            yield
        return
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_key_of(url)})")
            yield
    finally:
        engine.dispose()


def _sqlite_path(url: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(url.removeprefix(prefix)) if url.startswith(prefix) else None


def _engine_options(url: str) -> dict[str, Any]:
    # A second writer waits for the first instead of failing.
    return {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}


def _key_of(url: str) -> int:
    """PostgreSQL knows locks by a number; it is the same on every machine."""
    database = sqlalchemy.make_url(url).database or ""
    return int(hashlib.sha256(f"hrm_sweep {database}".encode()).hexdigest()[:15], 16)


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
    lines = redacted(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
