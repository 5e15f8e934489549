"""The MLflow database is built once, by however many processes and whatever kills them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from studies import APP, PATIENCE_SECONDS, command, until
from truth import Truth, fresh_database

from hrm_sweep.errors import TrackingError
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


def builders(path: Path, number: int, *, script: str = BUILD) -> list[subprocess.Popen[str]]:
    """Processes that have imported all they need and begin to build now."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
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


USERS_OWN = """
import sys
from mlflow.tracking import MlflowClient
print("ready", flush=True)
sys.stdin.readline()
client = MlflowClient("sqlite:///" + sys.argv[1])
client.create_run("0", run_name="the user's")
"""


class TestTheUsersOwnMlflow:
    """What MLflow itself has begun at the same address is used, and never replaced."""

    def test_that_comes_while_ours_is_built_keeps_its_file(self, tmp_path):
        path = tmp_path / "mlruns" / "mlflow.db"
        (process,) = builders(path, 1)
        until(lambda: list(path.parent.glob(f".mlflow.db.{process.pid}")))
        fresh_database(path.parent)
        inode = path.stat().st_ino
        assert process.wait(PATIENCE_SECONDS) == 0
        assert path.stat().st_ino == inode
        assert names(path.parent) == [".mlflow.db.lock", "mlflow.db"]

    def test_that_has_begun_is_waited_for(self, tmp_path):
        path = tmp_path / "mlflow.db"
        (process,) = builders(path, 1, script=USERS_OWN)
        until(path.exists)
        build(path)
        check(f"sqlite:///{path}")
        works(path)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert Truth(f"sqlite:///{path}").run("the user's")

    def test_that_died_while_it_began_is_named(self, tmp_path):
        path = tmp_path / "mlflow.db"
        (process,) = builders(path, 1, script=USERS_OWN)
        until(path.exists)
        process.kill()
        with pytest.raises(TrackingError, match=r"mlflow\.db: .*MLflow"):
            check(f"sqlite:///{path}")

    def test_in_the_workers_of_a_study_shares_its_fresh_database(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        uri = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
        typed = command(
            *("hydra.launcher.workers=2", "+x=0,1,2,3", f"+uri={uri}"),
            *("hydra.sweeper.tracking.name=mlflow", f"hydra.sweeper.tracking.uri={uri}"),
            app=APP.with_name("own_mlflow.py"),
        )
        done = subprocess.run(typed, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        truth = Truth(uri)
        runs = sorted(run.info.run_name for run in truth.runs())
        theirs = [f"own {x}" for x in range(4)]
        ours = [f"{number} x={number}" for number in range(4)]
        assert runs == sorted([*theirs, *ours, "study"])
        assert {run.info.status for run in truth.runs()} == {"FINISHED"}
        assert [len(truth.metrics(name)) for name in theirs] == [3] * 4
