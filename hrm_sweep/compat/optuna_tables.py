"""Rows of Optuna's relational storage, read and written as in Optuna 5.0 (schema version 12).

Optuna's own methods take one value at a time, in several statements each.
tests/unit/compat/test_optuna_tables_canary.py compares each function with what Optuna's own methods
write and read.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb.models import (
    StudyModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

MANY = 1000
"""Ids in one statement; databases take some ten thousand."""


def states_of_trials(
    connection: sqlalchemy.Connection, study_id: int, trial_ids: Collection[int], *, above: int
) -> dict[int, TrialState]:
    """Return the states of a study's trials with some ids, and of those with ids above one."""
    if len(trial_ids) > MANY:
        above, trial_ids = min(trial_ids) - 1, ()
    query = sqlalchemy.select(TrialModel.trial_id, TrialModel.state).where(
        TrialModel.study_id == study_id,
        sqlalchemy.or_(TrialModel.trial_id > above, TrialModel.trial_id.in_(trial_ids)),
    )
    rows = connection.execute(query.order_by(TrialModel.trial_id))
    return {row.trial_id: row.state for row in rows}


def add_running_trial(
    connection: sqlalchemy.Connection, study_id: int, trial: FrozenTrial
) -> tuple[int, int]:
    """Add a running trial, its parameters and its attributes; return its id and its number."""
    if connection.dialect.name != "sqlite":  # Optuna's own `ask` takes its number by this lock
        study = sqlalchemy.select(StudyModel.study_id).where(StudyModel.study_id == study_id)
        connection.execute(study.with_for_update())
    trials: Any = TrialModel.__table__
    count = sqlalchemy.select(sqlalchemy.func.count()).where(trials.c.study_id == study_id)
    new = sqlalchemy.insert(trials).values(
        study_id=study_id,
        number=count.scalar_subquery(),
        state=TrialState.RUNNING,
        datetime_start=datetime.now(UTC).replace(tzinfo=None),
    )
    trial_id, number = connection.execute(new.returning(trials.c.trial_id, trials.c.number)).one()
    params = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(trial.distributions[name]),
        }
        for name, value in trial.params.items()
    ]
    if params:
        connection.execute(sqlalchemy.insert(TrialParamModel), params)
    for model, attrs in (
        (TrialUserAttributeModel, trial.user_attrs),
        (TrialSystemAttributeModel, trial.system_attrs),
    ):
        rows = _attribute_rows(trial_id, attrs)
        if rows:
            connection.execute(sqlalchemy.insert(model), rows)
    return trial_id, number


def add_waiting_trials(
    session: Session,
    study_id: int,
    points: Iterable[Mapping[str, Any]],
    distributions: Mapping[str, BaseDistribution],
) -> None:
    """Add trials that wait, one for each point, with the next numbers of the study."""
    first = session.query(TrialModel).filter_by(study_id=study_id).count()
    trials = {
        TrialModel(study_id=study_id, number=number, state=TrialState.WAITING): point
        for number, point in enumerate(points, start=first)
    }
    session.add_all(trials)
    session.flush()  # gives them their ids
    texts = {name: distribution_to_json(each) for name, each in distributions.items()}
    params = [
        {
            "trial_id": trial.trial_id,
            "param_name": name,
            "param_value": distributions[name].to_internal_repr(value),
            "distribution_json": texts[name],
        }
        for trial, point in trials.items()
        for name, value in point.items()
    ]
    if params:
        session.execute(sqlalchemy.insert(TrialParamModel), params)


def add_intermediate_values(
    connection: sqlalchemy.Connection, trial_id: int, curve: Mapping[int, float]
) -> None:
    """Add the steps of a curve that a trial lacks."""
    model = TrialIntermediateValueModel
    query = sqlalchemy.select(model.step).where(model.trial_id == trial_id)
    rows: list[dict[str, Any]] = []
    for step in curve.keys() - set(connection.execute(query).scalars()):
        value, kind = model.intermediate_value_to_stored_repr(curve[step])
        point = {"intermediate_value": value, "intermediate_value_type": kind}
        rows.append({"trial_id": trial_id, "step": step, **point})
    if rows:
        connection.execute(sqlalchemy.insert(model), rows)


def remove_intermediate_values(session: Session, trial_id: int, *, first: int) -> None:
    """Remove the curve of a trial from a step on."""
    model = TrialIntermediateValueModel
    of_trial = session.query(model).filter(model.trial_id == trial_id, model.step >= first)
    of_trial.delete(synchronize_session=False)


def set_user_attrs(
    connection: sqlalchemy.Connection, trial_id: int, attrs: Mapping[str, Any]
) -> None:
    """Set user attributes of a trial; values are JSON."""
    model = TrialUserAttributeModel
    query = sqlalchemy.select(model.key).where(model.trial_id == trial_id)
    known = set(connection.execute(query).scalars())
    rows = _attribute_rows(trial_id, attrs)
    new = [row for row in rows if row["key"] not in known]
    if new:
        connection.execute(sqlalchemy.insert(model), new)
    for row in rows:
        if row["key"] in known:
            of_key = (model.trial_id == trial_id) & (model.key == row["key"])
            connection.execute(sqlalchemy.update(model).where(of_key).values(row))


def _attribute_rows(trial_id: int, attrs: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attrs.items()
    ]


def user_attrs_of_running(
    connection: sqlalchemy.Connection, trial_ids: Iterable[int]
) -> dict[int, dict[str, Any]]:
    """Return the user attributes of those of the trials that are running, by trial number.

    Running trials without any attribute are left out.
    """
    attribute = TrialUserAttributeModel
    query = sqlalchemy.select(TrialModel.number, attribute.key, attribute.value_json).where(
        attribute.trial_id == TrialModel.trial_id,
        TrialModel.state == TrialState.RUNNING,
        TrialModel.trial_id.in_(list(trial_ids)),
    )
    attrs: dict[int, dict[str, Any]] = {}
    for number, key, text in connection.execute(query):
        attrs.setdefault(number, {})[key] = json.loads(text)
    return attrs


def replace_distributions(
    session: Session, study_id: int, distributions: Mapping[str, BaseDistribution]
) -> None:
    """Give the parameters of all trials of a study other distributions, with the same values.

    Args:
        session: Session on the storage.
        study_id: Id of the study.
        distributions: By parameter name; each has all values that the trials have.
    """
    params: Any = session.query(TrialParamModel).join(TrialModel)
    for param in params.filter(TrialModel.study_id == study_id):
        old = json_to_distribution(param.distribution_json)
        new = distributions[param.param_name]
        param.param_value = new.to_internal_repr(old.to_external_repr(param.param_value))
        param.distribution_json = distribution_to_json(new)


def reopen(session: Session, trial_id: int, state: TrialState) -> None:
    """Give a finished trial an unfinished state, and take its values and its curve from it."""
    for model in (TrialValueModel, TrialIntermediateValueModel):
        session.query(model).filter_by(trial_id=trial_id).delete(synchronize_session=False)
    trial = session.query(TrialModel).filter_by(trial_id=trial_id).one()
    trial.state, trial.datetime_complete = state, None


def rename_study(connection: sqlalchemy.Connection, study_id: int, name: str) -> None:
    """Give a study another name; the database refuses one that is taken."""
    of_study = StudyModel.study_id == study_id
    connection.execute(sqlalchemy.update(StudyModel).where(of_study).values(study_name=name))


def has_study(connection: sqlalchemy.Connection, name: str) -> bool:
    """Return whether a database has a study of that name; it may lack Optuna's tables."""
    if not sqlalchemy.inspect(connection).has_table(StudyModel.__tablename__):
        return False
    query = sqlalchemy.select(StudyModel.study_id).where(StudyModel.study_name == name)
    return connection.execute(query).first() is not None
