"""The ledger: Optuna's storage, opened so that several processes may share it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast, get_args

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage, get_storage
from optuna.storages._rdb.models import StudyModel, TrialModel
from optuna.storages._rdb.models import TrialIntermediateValueModel as CurvePoint
from optuna.storages._rdb.models import TrialParamModel as Param
from optuna.storages._rdb.models import TrialUserAttributeModel as Attribute
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import scoped_session, sessionmaker

from hrm_sweep.errors import StudyError
from hrm_sweep.storage import database

Direction = Literal["maximize", "minimize"]

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the screen shows trials, not Optuna's log


class SharedStorage:
    """The storage at an SQLAlchemy URL, created on first use.

    Optuna builds its tables without a lock: of processes that start at once on a fresh database
    many crash. They queue here instead.

    Once it is open, whatever asks it raises DatabaseAway when the database does not answer.

    Raises:
        StudyError: the URL, the folder or the database cannot be used.
    """

    def __init__(self, url: str) -> None:
        database.check(url)
        try:
            with database.first_start(url):
                self.storage = RDBStorage(url, engine_kwargs=database.options(url))
        except (OSError, SQLAlchemyError, ValueError, ImportError, RuntimeError) as error:
            raise _cannot_be_opened(url, error) from None
        self._lock = database.guard(self.storage.engine, url)
        self._read = get_storage(self.storage)
        """Keeps the finished trials that Optuna has read."""

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
                optuna.create_study(storage=self._read, study_name=name, directions=wanted)
        no_pruner = optuna.pruners.NopPruner()
        study = optuna.load_study(study_name=name, storage=self._read, pruner=no_pruner)
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

        A block that ends by DatabaseAway can be run again. Only when the connection broke in the
        very commit, all of it may be there nevertheless.
        """
        alone = self.storage.scoped_session
        try:
            with self.storage.engine.begin() as connection:
                connection.exec_driver_sql(self._lock)
                joined = sessionmaker(bind=connection, join_transaction_mode="rollback_only")
                self.storage.scoped_session = scoped_session(joined)
                yield
        except BaseException:
            self._forget_what_was_read()
            raise
        finally:
            self.storage.scoped_session = alone

    def _forget_what_was_read(self) -> None:
        """Trials that ended in a transaction that came to nothing go on."""
        vars(self._read).update(vars(get_storage(self.storage)))

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

    def running(self, trials: Iterable[optuna.Trial]) -> dict[int, dict[str, Any]]:
        """The user attributes of those of the trials that run, by number."""
        ids = [trial._trial_id for trial in trials]
        with self.storage.scoped_session() as session:
            query = session.query(TrialModel.number, Attribute.key, Attribute.value_json)
            query = query.join(Attribute, Attribute.trial_id == TrialModel.trial_id)
            query = query.filter(
                TrialModel.state == TrialState.RUNNING, TrialModel.trial_id.in_(ids)
            )
            told: dict[int, dict[str, Any]] = {}
            for number, key, text in query:
                told.setdefault(number, {})[key] = json.loads(text)
        return told

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
    database.check(url)
    path = database.sqlite_path(url)
    if path is not None and not path.exists():
        return None
    try:
        is_there = _has_study(url, name)  # opening the ledger takes twenty times as long
    except (SQLAlchemyError, ImportError) as error:
        raise _cannot_be_opened(url, error) from None
    return (
        optuna.load_study(study_name=name, storage=SharedStorage(url).storage) if is_there else None
    )


def _has_study(url: str, name: str) -> bool:
    engine = sqlalchemy.create_engine(url, **database.options(url))
    query = sqlalchemy.select(StudyModel.study_id).where(StudyModel.study_name == name)
    try:
        with engine.connect() as connection:
            has_tables = sqlalchemy.inspect(connection).has_table(StudyModel.__tablename__)
            return has_tables and connection.execute(query).first() is not None
    finally:
        engine.dispose()


def _cannot_be_opened(url: str, error: BaseException) -> StudyError:
    said = getattr(error, "orig", None) or error  # without SQLAlchemy's words around it
    return database.unusable(url, f"cannot be opened ({database.first_line(said)})")
