"""Rows of Optuna's relational storage (schema version 12), read without importing Optuna.

Its import takes a third of a second, which the commands that look for a study would wait for.
tests/unit/compat/test_optuna_schema_canary.py compares them with what Optuna writes.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy


def study_attributes(connection: sqlalchemy.Connection) -> list[dict[str, Any]]:
    """Return the user attributes of each study that has some; there may be no table of them."""
    if not sqlalchemy.inspect(connection).has_table("study_user_attributes"):
        return []
    query = "SELECT study_id, key, value_json FROM study_user_attributes"
    found: dict[int, dict[str, Any]] = {}
    for study_id, key, text in connection.exec_driver_sql(query):
        found.setdefault(study_id, {})[key] = json.loads(text)
    return list(found.values())
