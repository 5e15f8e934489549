"""Optuna's storage, opened so that several processes may share it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast, get_args

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from hrm_sweep.compat import optuna_tables as tables
from hrm_sweep.compat.optuna import (
    READS,
    clear_trial_cache,
    read_trials,
    study_id,
    trial_id,
    with_trial_cache,
)
from hrm_sweep.compat.optuna_trial import read_trial
from hrm_sweep.errors import StudyError
from hrm_sweep.storage import database
from hrm_sweep.system import sqlite_urls
from hrm_sweep.system.redact import redacted_tree

Direction = Literal["maximize", "minimize"]

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the terminal shows trials, not Optuna's log


class SharedStorage(RDBStorage):
    """Optuna's storage at an SQLAlchemy URL, created on first use.

    Optuna creates its tables without a lock, so of several processes that start on a fresh
    database many crash; here they queue. Once the storage is open, all its methods raise
    DatabaseAway when the database does not answer.

    Raises:
        StudyError: The URL, the folder or the database cannot be used.
    """

    def __init__(self, url: str) -> None:
        database.check(url)
        try:
            with database.first_start(url):
                template = url.replace("{", "{{").replace("}", "}}")  # Optuna formats it
                super().__init__(template, engine_kwargs=database.options(url))
        except (OSError, SQLAlchemyError, ValueError, ImportError, RuntimeError) as error:
            raise database.cannot_be_opened(url, error) from None
        self._share()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # makes the engine and the sessions anew
        self._share()

    def _share(self) -> None:
        database.guard(self.engine, self.url)
        sessions = sessionmaker(bind=self.engine, join_transaction_mode="create_savepoint")
        self.scoped_session = scoped_session(sessions)  # Optuna's methods take theirs here
        self._cached = with_trial_cache(self)

    def open_study(self, name: str, directions: Sequence[str]) -> optuna.Study:
        """Load the study of that name, and create it if there is none.

        Raises:
            StudyError: A direction is invalid, or is not that of the existing study.
        """
        for direction in directions:
            if direction not in get_args(Direction):
                raise StudyError(
                    f"hydra.sweeper.direction={direction}: must be maximize or minimize"
                )
        with self.exclusive_transaction(name):
            if not self.has_study(name):
                wanted = cast("list[Direction]", list(directions))
                optuna.create_study(storage=self._cached, study_name=name, directions=wanted)
        no_pruner = optuna.pruners.NopPruner()
        study = optuna.load_study(study_name=name, storage=self._cached, pruner=no_pruner)
        existing = [direction.name.lower() for direction in study.directions]
        if existing != list(directions):
            raise StudyError(
                f"hydra.sweeper.direction={','.join(directions)}: study {name} was made to "
                f"{' and '.join(existing)}; keep to that, or take another "
                "hydra.sweeper.study_name"
            )
        return study

    def load(self, name: str) -> optuna.Study:
        """Return the study of that name; inside a transaction it reads and writes as part of it.

        Raises:
            KeyError: there is none.
        """
        return optuna.load_study(study_name=name, storage=self)

    def has_study(self, name: str) -> bool:
        """Return whether there is a study of that name."""
        return name in optuna.get_all_study_names(self)

    @contextmanager
    def removing_study(self, name: str) -> Iterator[None]:
        """Delete a study with all its trials, if the block ends well; no sweep opens it meanwhile.

        There need not be one of that name.
        """
        with self.exclusive_transaction(name):
            with contextlib.suppress(KeyError):
                optuna.delete_study(study_name=name, storage=self)
            yield

    def rename(self, study: optuna.Study, name: str) -> None:
        """Give a study another name, which no other one may have."""
        with self._connected() as connection:
            tables.rename_study(connection, study_id(study), name)

    @contextmanager
    def exclusive_transaction(self, study_name: str) -> Iterator[None]:
        """Run the block in one transaction while no other process has one on that study.

        For a block that reads a study and writes what follows from it. All that the block writes is
        in the database when it ends, or, after an exception or a kill, nothing. The lock is the
        database's own, freed at the end of the transaction. Without such a block Optuna commits,
        and waits for the disk, after each of its steps. In it each step has a savepoint: one that
        fails, by an error that the block may catch, leaves those before it as they are.

        The transaction is this thread's; what other threads ask meanwhile is not part of it.

        A block that ends by DatabaseAway can be run again. Its writes may be in the database
        nevertheless, but only if the connection broke during the commit.
        """
        try:
            with self.engine.begin() as connection:
                database.lock_study(connection, study_name)
                self.scoped_session.remove()
                self.scoped_session(bind=connection)  # this thread's session until it is removed
                yield
        except BaseException:
            clear_trial_cache(self._cached, self)  # trials that ended in it are running again
            raise
        finally:
            self.scoped_session.remove()

    def states_of_trials(
        self, study: optuna.Study, trial_ids: Collection[int], *, above: int
    ) -> dict[int, TrialState]:
        """Return the states of trials with some ids, and of those with ids above one."""
        with self._connected() as connection:
            return tables.states_of_trials(connection, study_id(study), trial_ids, above=above)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; Optuna's own method takes six times as long."""
        with self._connected() as connection:
            return read_trial(connection, trial_id)

    def read_trials(self, study: optuna.Study, trial_ids: set[int]) -> list[FrozenTrial]:
        """Return trials with some ids, in few statements."""
        return read_trials(self, study_id(study), trial_ids)

    def add_running(self, study: optuna.Study, trial: FrozenTrial) -> FrozenTrial:
        """Add a running trial with the study's next number, in few statements, and return it."""
        with self._connected() as connection:
            new_id, number = tables.add_running_trial(connection, study_id(study), trial)
        return FrozenTrial(
            number=number,
            trial_id=new_id,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=trial.datetime_start,
            datetime_complete=None,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=trial.user_attrs,
            system_attrs=trial.system_attrs,
            intermediate_values={},
        )

    def add_waiting(
        self,
        study: optuna.Study,
        points: Iterable[Mapping[str, Any]],
        distributions: Mapping[str, BaseDistribution],
    ) -> None:
        """Add a waiting trial for each point, in few statements.

        `Study.add_trials` takes some ten statements for each, and counts all trials before it.
        """
        with self._committing() as session:
            tables.add_waiting_trials(session, study_id(study), points, distributions)

    def requeue(self, trial: optuna.Trial | FrozenTrial) -> None:
        """Make a running trial wait again, with its number, parameters, attributes and curve.

        Optuna allows this change of state without documenting it; a test holds it to that.
        """
        self.set_trial_state_values(trial_id(trial), state=TrialState.WAITING)

    def reopen(self, trial: FrozenTrial, state: TrialState) -> None:
        """Set a finished trial waiting or running again, without its values and its curve.

        Optuna has no means for that. Processes that have read the trial keep it as it was; this one
        reads it anew.
        """
        with self._committing() as session:
            tables.reopen(session, trial_id(trial), state)
        clear_trial_cache(self._cached, self)

    def report(self, trial: optuna.Trial | FrozenTrial, curve: Mapping[int, float]) -> None:
        """Add the steps of a curve that a running trial lacks, and that `can_hold`."""
        held = {step: value for step, value in curve.items() if self.can_hold(step)}
        with self._connected() as connection:
            tables.add_intermediate_values(connection, trial_id(trial), held)

    def can_hold(self, step: int) -> bool:
        """Return whether a step is small enough for an integer of Optuna's table."""
        bits = 63 if self.engine.dialect.name == "sqlite" else 31
        return abs(step) < 1 << bits

    def remove_steps(self, trial: optuna.Trial | FrozenTrial, *, first: int = 0) -> None:
        """Remove the curve of a trial from a step on: another attempt measures it again."""
        with self._committing() as session:
            tables.remove_intermediate_values(session, trial_id(trial), first=first)

    def set_user_attrs(self, trial: optuna.Trial | FrozenTrial, attrs: Mapping[str, Any]) -> None:
        """Set user attributes of a trial in one statement; values are JSON, secrets are masked.

        Of a finished one too, which Optuna's own methods refuse. Studies that were loaded before
        keep such a trial as they have it.
        """
        with self._connected() as connection:
            tables.set_user_attrs(connection, trial_id(trial), redacted_tree(dict(attrs)))

    def widen(self, study: optuna.Study, wider: Mapping[str, BaseDistribution]) -> None:
        """Give the parameters of a study's trials wider distributions, with the same values.

        Optuna refuses other choices than a study began with, for the sake of its samplers; a grid
        that grows has no sampler. Optuna's figures expect one distribution per parameter.
        """
        with self._committing() as session:
            tables.replace_distributions(session, study_id(study), wider)

    def user_attrs_of_running(
        self, trials: Iterable[optuna.Trial | FrozenTrial]
    ) -> dict[int, dict[str, Any]]:
        """Return the user attributes of those of the trials that are running, by trial number."""
        ids = [trial_id(trial) for trial in trials]
        if not ids:
            return {}
        with self._connected() as connection:
            return tables.user_attrs_of_running(connection, ids)

    def start(self, study: optuna.Study, trial_id: int) -> optuna.Trial | None:
        """Set a waiting trial running and return it; None if it does not wait any more."""
        try:
            started = self.set_trial_state_values(trial_id, state=TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return None
        return optuna.Trial(study, trial_id) if started else None

    @contextmanager
    def _connected(self) -> Iterator[sqlalchemy.Connection]:
        """Yield this thread's transaction, and where it is in none, one of its own."""
        bind = self.scoped_session().get_bind()
        if isinstance(bind, sqlalchemy.Connection):
            yield bind
        else:
            with bind.begin() as connection:
                yield connection

    @contextmanager
    def _committing(self) -> Iterator[Session]:
        with self.scoped_session() as session:
            yield session
            session.commit()


for _name in (*READS, "states_of_trials"):
    setattr(SharedStorage, _name, database.reading(getattr(SharedStorage, _name)))


def existing_study(url: str, name: str) -> optuna.Study | None:
    """Return the study of that name, None if there is none; create nothing.

    Raises:
        StudyError: The URL cannot be used.
    """
    database.check(url)
    path = sqlite_urls.path_of(url)
    if path is not None and not path.exists():
        return None
    try:
        exists = _has_study(url, name)  # opening the storage takes twenty times as long
    except (SQLAlchemyError, ImportError) as error:
        raise database.cannot_be_opened(url, error) from None
    return SharedStorage(url).load(name) if exists else None


def _has_study(url: str, name: str) -> bool:
    engine = sqlalchemy.create_engine(url, **database.options(url))
    try:
        with engine.connect() as connection:
            return tables.has_study(connection, name)
    finally:
        engine.dispose()
