"""A database of an older MLflow, and the command that upgrades it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from truth import Truth

from hrm_sweep.errors import TrackingError
from hrm_sweep.tracking.store import check


def works(path: Path) -> None:
    """The database takes an experiment and a run, and SQLite finds no fault in it."""
    uri = f"sqlite:///{path}"
    check(uri)
    truth = Truth(uri)
    experiment = truth.client.create_experiment(f"try {time.time_ns()}")
    truth.client.create_run(experiment)
    assert truth.select("PRAGMA integrity_check") == [("ok",)]


def test_an_older_database_is_named_with_the_command_that_upgrades_it(tmp_path):
    """The database is made as an older MLflow would: its migrations, but for the last one."""
    uri = older_database(tmp_path / "mlflow.db")
    with pytest.raises(TrackingError, match="made by an older MLflow") as caught:
        check(uri)
    command = re.search(r"run: mlflow (.*)$", str(caught.value))
    assert command
    subprocess.run([sys.executable, "-m", "mlflow", *command[1].split()], check=True)
    works(tmp_path / "mlflow.db")


def older_database(path: Path) -> str:
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    uri = f"sqlite:///{path}"
    engine = sqlalchemy.create_engine(uri)
    Base.metadata.create_all(engine)
    config = _get_alembic_config(uri)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "heads-1")
    engine.dispose()
    return uri
