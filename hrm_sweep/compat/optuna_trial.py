"""One trial, read from the rows of Optuna's relational storage, as in Optuna 5.0.

tests/unit/compat/test_optuna_trial_canary.py compares it with what Optuna reads.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from optuna.distributions import json_to_distribution
from optuna.storages._rdb.models import (
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import FrozenTrial


def read_trial(connection: sqlalchemy.Connection, trial_id: int) -> FrozenTrial:
    """Return what `RDBStorage.get_trial` returns, without making an object of each row.

    Raises:
        KeyError: there is no such trial.
    """
    rows = [connection.execute(query, {"id": trial_id}).all() for query in _ROWS]
    found, values, params, user_attrs, system_attrs, curve = rows
    if not found:
        raise KeyError(f"no trial has the id {trial_id}")
    ((number, state, begin, end),) = found
    to_value = TrialValueModel.stored_repr_to_value
    to_measured = TrialIntermediateValueModel.stored_repr_to_intermediate_value
    distributions = {name: json_to_distribution(text) for name, _, text in params}
    return FrozenTrial(
        number=number,
        state=state,
        value=None,
        values=[to_value(*value) for value in values] or None,
        datetime_start=_local(begin),
        datetime_complete=_local(end),
        params={name: distributions[name].to_external_repr(value) for name, value, _ in params},
        distributions=distributions,
        user_attrs={key: json.loads(text) for key, text in user_attrs},
        system_attrs={key: json.loads(text) for key, text in system_attrs},
        intermediate_values={step: to_measured(*value) for step, *value in curve},
        trial_id=trial_id,
    )


def _local(utc: datetime | None) -> datetime | None:
    """Return a stored time as Optuna shows it, neither with a time zone."""
    return utc and utc.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _rows_of(model: Any, names: str, *, in_order: str) -> sqlalchemy.Select[Any]:
    columns = model.__table__.c
    of_trial = columns.trial_id == sqlalchemy.bindparam("id")
    query = sqlalchemy.select(*(columns[name] for name in names.split())).where(of_trial)
    return query.order_by(columns[in_order])


_ROWS = (
    _rows_of(TrialModel, "number state datetime_start datetime_complete", in_order="trial_id"),
    _rows_of(TrialValueModel, "value value_type", in_order="objective"),
    _rows_of(TrialParamModel, "param_name param_value distribution_json", in_order="param_id"),
    _rows_of(TrialUserAttributeModel, "key value_json", in_order="key"),
    _rows_of(TrialSystemAttributeModel, "key value_json", in_order="key"),
    _rows_of(
        TrialIntermediateValueModel,
        "step intermediate_value intermediate_value_type",
        in_order="step",
    ),
)
"""Queries, built once: that takes longer than the database."""
