"""The MLflow database is built once, by however many processes and whatever kills them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from studies import PATIENCE_SECONDS
from truth import Truth

from hrm_sweep.tracking.store import build, check

BUILD = """
import sys
from pathlib import Path
from hrm_sweep.tracking import store
from mlflow.store.tracking import sqlalchemy_store
print("ready", flush=True)
sys.stdin.readline()
store.build(Path(sys.argv[1]))
"""


def builders(path: Path, number: int) -> list[subprocess.Popen[str]]:
    """Processes that have imported all they need and begin to build now."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(number)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def works(path: Path) -> None:
    """The database takes an experiment and a run, and SQLite finds no fault in it."""
    uri = f"sqlite:///{path}"
    check(uri)
    truth = Truth(uri)
    experiment = truth.client.create_experiment(f"try {time.time_ns()}")
    truth.client.create_run(experiment)
    assert truth.select("PRAGMA integrity_check") == [("ok",)]


def test_eight_builders_at_once_leave_one_database(tmp_path):
    path = tmp_path / "mlruns" / "mlflow.db"
    processes = builders(path, 8)
    assert [process.wait(PATIENCE_SECONDS) for process in processes] == [0] * 8
    works(path)


@pytest.mark.parametrize("seconds", [0.02, 0.2, 0.5, 0.9])
def test_killed_anywhere_works(tmp_path, seconds):
    path = tmp_path / "mlruns" / "mlflow.db"
    (process,) = builders(path, 1)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    build(path)
    assert names(path.parent) == [".mlflow.db.lock", "mlflow.db"]
    works(path)
