"""Rows of Optuna's relational storage, read and written as in Optuna 5.0 (schema version 12).

Optuna's own methods take one value at a time, in several statements each.
tests/unit/compat/test_optuna_tables_canary.py compares each function with what Optuna's own methods
write and read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb.models import (
    StudyModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import TrialState
from sqlalchemy.orm import Session


def num_trials(session: Session, study_id: int) -> int:
    """Return how many trials a study has."""
    return session.query(TrialModel).filter_by(study_id=study_id).count()


def states_of(session: Session, study_id: int, *, newer_than: int) -> dict[int, TrialState]:
    """Return the states of unfinished trials, and of all that are newer than one, by id."""
    is_unfinished = TrialModel.state.in_((TrialState.RUNNING, TrialState.WAITING))
    query = session.query(TrialModel.trial_id, TrialModel.state).filter(
        TrialModel.study_id == study_id,
        sqlalchemy.or_(is_unfinished, TrialModel.trial_id > newer_than),
    )
    return {int(trial_id): state for trial_id, state in query}


def add_waiting_trials(
    session: Session,
    study_id: int,
    points: Iterable[Mapping[str, Any]],
    distributions: Mapping[str, BaseDistribution],
) -> None:
    """Add trials that wait, one for each point, with the next numbers of the study."""
    trials = {
        TrialModel(study_id=study_id, number=number, state=TrialState.WAITING): point
        for number, point in enumerate(points, start=num_trials(session, study_id))
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


def add_intermediate_values(session: Session, trial_id: int, curve: Mapping[int, float]) -> None:
    """Add the steps of a curve that a trial lacks."""
    model = TrialIntermediateValueModel
    known = session.query(model.step).filter_by(trial_id=trial_id)
    for step in curve.keys() - {step for (step,) in known}:
        value, kind = model.intermediate_value_to_stored_repr(curve[step])
        point = {"intermediate_value": value, "intermediate_value_type": kind}
        session.add(model(trial_id=trial_id, step=step, **point))


def remove_intermediate_values(session: Session, trial_id: int, *, first: int) -> None:
    """Remove the curve of a trial from a step on."""
    model = TrialIntermediateValueModel
    of_trial = session.query(model).filter(model.trial_id == trial_id, model.step >= first)
    of_trial.delete(synchronize_session=False)


def set_user_attrs(session: Session, trial_id: int, attrs: Mapping[str, Any]) -> None:
    """Set user attributes of a trial; values are JSON."""
    query = session.query(TrialUserAttributeModel).filter_by(trial_id=trial_id)
    known = {str(row.key): row for row in query}
    for name, value in attrs.items():
        row = known.get(name) or TrialUserAttributeModel(trial_id=trial_id, key=name)
        row.value_json = json.dumps(value)
        session.add(row)


def user_attrs_of_running(session: Session, trial_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Return the user attributes of those of the trials that are running, by trial number.

    Running trials without any attribute are left out.
    """
    attribute = TrialUserAttributeModel
    query = session.query(TrialModel.number, attribute.key, attribute.value_json)
    query = query.join(attribute, attribute.trial_id == TrialModel.trial_id).filter(
        TrialModel.state == TrialState.RUNNING, TrialModel.trial_id.in_(list(trial_ids))
    )
    attrs: dict[int, dict[str, Any]] = {}
    for number, key, text in query:
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


def has_study(connection: sqlalchemy.Connection, name: str) -> bool:
    """Return whether a database has a study of that name; it may lack Optuna's tables."""
    if not sqlalchemy.inspect(connection).has_table(StudyModel.__tablename__):
        return False
    query = sqlalchemy.select(StudyModel.study_id).where(StudyModel.study_name == name)
    return connection.execute(query).first() is not None
