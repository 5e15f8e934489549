"""Canary of the table of Optuna that compat/optuna_schema.py reads."""

import optuna
import sqlalchemy

from hrm_sweep.compat import optuna_schema


def attributes_in(path) -> list[dict]:
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        return optuna_schema.study_attributes(connection)


def test_attributes_are_those_that_optuna_wrote(tmp_path):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    first = optuna.create_study(storage=storage, study_name="first")
    first.set_user_attr("folder", "multirun/first")
    first.set_user_attr("recipe", {"space": {"lr": ["1e-3"]}})
    optuna.create_study(storage=storage, study_name="bare")
    last = optuna.create_study(storage=storage, study_name="last")
    last.set_user_attr("folder", "elsewhere")
    assert attributes_in(tmp_path / "optuna.db") == [first.user_attrs, last.user_attrs]


def test_a_database_without_tables_has_no_studies(tmp_path):
    assert attributes_in(tmp_path / "empty.db") == []
