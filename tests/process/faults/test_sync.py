"""`sync`: everything that is written down gets into MLflow, from wherever its folder came."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from truth import Truth

from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.record import Record, read
from hrm_sweep.tracking.delete import delete
from hrm_sweep.tracking.store import resolve_uri

MEASUREMENTS = 2


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in, with no MLflow named anywhere."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_study(folder: Path, *, uri: str | None = None) -> None:
    """A study of one trial as a sweep leaves it, of a machine with other folders."""
    tags = {"hrm_sweep.study": folder.name}
    judged = {"objectives": ["x"], "directions": ["minimize"], "constraints": []}
    with Record(folder) as study:
        study.append(
            "started",
            kind="study",
            name=folder.name,
            description="    app.py -m n=1",
            params={"n": "1"},
            tags=tags,
            judged={**judged, "tie_breaker": None, "columns": [], "repeats": 1},
            num_trials=1,
            storage="sqlite:////home/bob/optuna.db",
            tracking={"uri": uri, "experiment": "theirs"},
        )
        with Record(folder / "0") as trial:
            tags |= {"hrm_sweep.trial": "0", "hrm_sweep.folder": f"/home/bob/{folder}/0"}
            trial.append("started", kind="trial", name="0 n=1", tags=tags)
            for step in range(1, MEASUREMENTS + 1):
                trial.metrics(step, {"x": 1 / step})
            (folder / "0" / "notes.txt").write_text("kept")
            trial.append("finished", outcome="complete", best={"x": 0.5}, artifacts=["notes.txt"])
        study.append("finished", outcome="complete", reason="1 complete")


def write_single(folder: Path, **finished: str) -> None:
    params = {"tracking.name": "mlflow", "tracking.experiment": "alone"}
    with Record(folder) as record:
        record.append("started", kind="train", name=folder.name, params=params)
        record.metrics(1, {"x": 1.0})
        if finished:
            record.append("finished", **finished)


def names(uri: str) -> dict[str, str]:
    """Status by name, of all runs."""
    return {run.info.run_name: run.info.status for run in Truth(resolve_uri(uri)).runs()}


def test_all_that_waits_is_sent_and_the_dead_get_their_end(machine, typed):
    write_study(machine / "multirun" / "small")
    write_single(machine / "multirun" / "train" / "well", outcome="complete")
    write_single(machine / "multirun" / "train" / "dead")
    code, said, _ = typed("sync")
    assert code == 0
    assert sorted(said.splitlines()) == [
        "dead: sent 1 measurement; everything is in MLflow",
        "small: sent 2 measurements; everything is in MLflow",
        "well: sent 1 measurement; everything is in MLflow",
    ]
    assert names("sqlite:///mlruns/mlflow.db") == {
        "small": "FINISHED",
        "0 n=1": "FINISHED",
        "well": "FINISHED",
        "dead": "KILLED",
    }
    assert typed("sync") == (0, "everything is in MLflow\n", "")


def test_a_folder_from_another_machine_is_sent_whatever_it_is_called_here(machine, typed):
    write_study(machine / "usb" / "small")
    assert typed("sync", "usb/small")[1] == "small: sent 2 measurements; everything is in MLflow\n"
    truth = Truth("sqlite:///mlruns/mlflow.db")
    assert truth.files("0 n=1") == {"notes.txt": b"kept"}
    assert "folder `usb/small/0`" in truth.run("0 n=1").data.tags["mlflow.note.content"]
    moved = (machine / "multirun").mkdir() or (machine / "usb" / "small").rename("multirun/small")
    (moved / "0" / "mlflow.json").unlink()
    assert typed("sync", "small")[1] == "small: sent 2 measurements; everything is in MLflow\n"
    assert len(truth.runs()) == 2


def test_a_database_that_was_thrown_away_or_replaced_is_filled_again(machine, typed):
    write_study(machine / "multirun" / "small")
    typed("sync")
    shutil.rmtree("mlruns")
    write_single(machine / "multirun" / "train" / "later", outcome="complete")
    typed("sync", "later")
    assert names("sqlite:///mlruns/mlflow.db") == {"later": "FINISHED"}
    assert typed("sync")[1] == "small: sent 2 measurements; everything is in MLflow\n"


@pytest.mark.parametrize("is_for_good", [False, True])
@pytest.mark.parametrize("deleted", ["small", "0 n=1"])
def test_a_run_that_was_deleted_in_mlflow_is_named_and_put_back(
    machine, typed, deleted, is_for_good
):
    write_study(machine / "multirun" / "small")
    typed("sync")
    uri = resolve_uri("sqlite:///mlruns/mlflow.db")
    run_id = Truth(uri).run(deleted).info.run_id
    if is_for_good:
        delete(uri, [run_id])
    else:
        Truth(uri).client.delete_run(run_id)
    name = {"small": "small", "0 n=1": "small/0"}[deleted]
    code, said, _ = typed("sync")
    assert code == 0
    assert said.startswith(f"small: 1 run deleted in MLflow: {name}; to put them back: python ")
    assert said.endswith(" sync small\n")
    code, said, _ = typed("sync", "small")
    assert code == 0
    assert said.startswith("small: 1 run deleted in MLflow, put back\nsmall: sent ")
    assert said.endswith("; everything is in MLflow\n")
    assert names("sqlite:///mlruns/mlflow.db") == {"small": "FINISHED", "0 n=1": "FINISHED"}
    truth = Truth(uri)
    parent = truth.run("0 n=1").data.tags["mlflow.parentRunId"]
    assert parent == truth.run("small").info.run_id
    assert truth.files("0 n=1") == {"notes.txt": b"kept"}
    assert typed("sync") == (0, "everything is in MLflow\n", "")


def test_whether_runs_are_there_is_not_claimed_when_the_server_is_down(machine, typed):
    write_study(machine / "multirun" / "small", uri="http://127.0.0.1:9")
    for folder in ("multirun/small", "multirun/small/0"):
        size = (machine / folder / "record.jsonl").stat().st_size
        state = ExportState(run_id="a" * 32, experiment_id="1", finished=True, size=size)
        state.save(machine / folder)
    code, said, error = typed("sync")
    assert (code, said) == (2, "")
    assert "connection refused" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ["nix"], "nix: no study or run of that name in multirun/; there are theirs", id="name"
        ),
        pytest.param(
            ["multirun/theirs/0"],
            "multirun/theirs/0: is part of study theirs; name the whole study: theirs",
            id="a trial alone",
        ),
        pytest.param(
            ["theirs"],
            "theirs: is exported to sqlite:////home/bob/mlruns/mlflow.db, and there is no such "
            "folder on this machine; name another database: ",
            id="a path of another machine",
        ),
        pytest.param(
            ["theirs", "--to", "ftp://me:c4n4ry@h"],
            "ftp://me:***@h: must begin with http://",
            id="no MLflow",
        ),
    ],
)
def test_a_mistake_is_one_line(machine, typed, arguments, words):
    write_study(machine / "multirun" / "theirs", uri="sqlite:////home/bob/mlruns/mlflow.db")
    code, said, error = typed("sync", *arguments)
    assert (code, said) == (2, "")
    assert words in error
    assert "c4n4ry" not in error
    assert not Path("/home/bob").exists()


def test_a_server_that_is_down_is_told_and_is_exit_code_1(machine, typed):
    write_study(machine / "multirun" / "small")
    for _ in range(2):
        code, said, _ = typed("sync", "--to", "http://me:c4n4ry@127.0.0.1:9")
        assert (code, said) == (
            1,
            "small: sent 0 measurements; 2 measurements and 1 file of 2 runs not in MLflow yet "
            "(http://me:***@127.0.0.1:9: connection refused)\n",
        )


class TestPostgreSQL:
    """A real server, as the backend of MLflow."""

    @pytest.fixture
    def uri(self, postgresql) -> str:
        name = f"mlflow_{uuid.uuid4().hex}"
        postgresql.psql(f"CREATE DATABASE {name}")
        return postgresql.get_uri().replace("/postgres?", f"/{name}?")

    def test_takes_a_copy_and_the_study_stays_where_it_belongs(self, machine, typed, uri):
        write_study(machine / "multirun" / "small")
        assert typed("sync")[0] == 0
        here = truth_of(Truth("sqlite:///mlruns/mlflow.db").client)
        said = typed("sync", "small", "--to", uri)[1]
        assert said == "small: sent 2 measurements; everything is in MLflow\n"
        assert truth_of(MlflowClient(uri)) == here
        assert here["0 n=1"] == (
            "FINISHED",
            [("best/x", 0, 0.5), ("hrm_sweep.rank", 1, 1.0), ("x", 1, 1.0), ("x", 2, 0.5)],
            ["notes.txt"],
            read(Path("multirun/small/0"))[-1].time_ms,
        )
        for again in (["small", "--to", uri], ["small"]):
            assert typed("sync", *again)[1].startswith("small: sent 0 measurements; everything")
        assert truth_of(MlflowClient(uri)) == here

    def test_of_another_version_is_named_with_the_command_that_upgrades_it(
        self, machine, typed, uri
    ):
        write_study(machine / "multirun" / "small")
        assert typed("sync", "--to", uri)[0] == 0
        from mlflow.store.db.utils import create_sqlalchemy_engine
        from sqlalchemy import text

        with create_sqlalchemy_engine(uri).begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '1b5f0d9ad7c1'"))
        write_single(machine / "multirun" / "train" / "alone", outcome="complete")
        code, said, _ = typed("sync", "--to", uri)
        assert code == 1
        assert "mlflow db upgrade" in said


def truth_of(client: MlflowClient) -> dict[str, tuple]:
    """Status, metrics, files and end of each run by name."""
    (experiment,) = [found for found in client.search_experiments() if found.name == "theirs"]
    return {
        run.info.run_name: _told(client, run)
        for run in client.search_runs([experiment.experiment_id])
    }


def _told(client: MlflowClient, run: Run) -> tuple:
    measured = [
        (point.key, point.step, point.value)
        for name in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, name)
    ]
    kept = [file.path for file in client.list_artifacts(run.info.run_id)]
    return run.info.status, sorted(measured), kept, run.info.end_time


def test_what_mlflow_can_never_have_is_named_and_the_rest_is_there(machine, typed):
    with Record(Path("multirun/train/long")) as record:
        params = {"tracking.name": "mlflow", "tracking.experiment": "alone"}
        record.append("started", kind="train", name="long", params=params, tags={})
        record.metrics(10**20, {"height": 1.0})
        record.metrics(1, {"height": 0.5})
        record.append("finished", outcome="complete")
    left_out = f"everything is in MLflow but height of long (step {10**20} has more than 64 bits)\n"
    assert typed("sync", "long")[:2] == (0, f"long: sent 1 measurement; {left_out}")
    assert typed("sync")[:2] == (0, f"long: {left_out}")
    (run,) = Truth(resolve_uri(None)).runs()
    assert (run.info.status, run.data.metrics["height"]) == ("FINISHED", 0.5)
