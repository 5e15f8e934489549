"""Records arrive in a real MLflow, each value once, with the status that is true."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import ViewType
from truth import Truth, fresh_database

from hrm_sweep.tracking import mlflow_store
from hrm_sweep.tracking.cursor import Backlog, Cursor, settle_dead, waiting
from hrm_sweep.tracking.mlflow_limits import legal_name
from hrm_sweep.tracking.projection import Projection
from hrm_sweep.tracking.record import Record, read, values_of

EXPERIMENT = "hrm_sweep"


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return fresh_database(tmp_path / "mlruns")


@pytest.fixture
def truth(uri: str) -> Truth:
    return Truth(uri)


def write_run(folder: Path, *, name: str = "", steps: int = 3, **finished: Any) -> None:
    """A run of `steps` epochs, and its end if `finished` has an outcome."""
    with Record(folder) as record:
        record.append(
            "started",
            name=name or folder.name,
            kind="trial",
            params={"lr": 1e-3, "model.name": "hrm"},
            tags={"hrm_sweep.trial": folder.name},
        )
        for step in range(1, steps + 1):
            record.metrics(step, {"train/loss": 1 / step, "eval/exact_match": step / 10})
        if finished:
            record.append("finished", **finished)


def write_study(folder: Path, trials: int = 2) -> None:
    with Record(folder) as record:
        record.append("started", name="otter", kind="study", description="    the command")
        for number in range(trials):
            write_run(folder / str(number), outcome="complete", best={"eval/exact_match": 0.3})
        record.append("finished", outcome="complete")


def project(root: Path, uri: str, **options: Any) -> Backlog:
    """Steps until nothing moves any more, as a new process would."""
    projection = Projection(root, tracking_uri=uri, experiment=EXPERIMENT, **options)
    try:
        progress = -1
        while projection.progress > progress:
            progress = projection.progress
            backlog = projection.step()
        return backlog
    finally:
        projection.close()


def written(folder: Path) -> list[tuple[str, int, float, int]]:
    """What the record says that MLflow must hold: name, step, value, time."""
    rows = [
        (name, entry.fields["step"], value, entry.time_ms)
        for entry in read(folder)
        if entry.event == "metrics"
        for name, value in values_of(entry).items()
    ]
    end = read(folder)[-1]
    for name, value in end.fields.get("best", {}).items():
        rows.append((f"best/{name}", 0, value, end.time_ms))
    return sorted(rows)


class TestAStudy:
    def test_is_a_parent_run_with_its_trials_as_children(self, tmp_path, uri, truth):
        write_study(tmp_path / "otter")
        assert project(tmp_path / "otter", uri) == Backlog(sent=6)
        study, *trials = truth.runs()
        assert study.info.run_name == "otter"
        assert "mlflow.parentRunId" not in study.data.tags
        assert study.data.tags["mlflow.note.content"] == "    the command"
        assert [run.info.run_name for run in trials] == ["0", "1"]
        assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {study.info.run_id}
        assert {run.info.status for run in [study, *trials]} == {"FINISHED"}

    def test_has_every_value_once_with_its_own_time(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        write_study(root)
        project(root, uri)
        for name in ("0", "1"):
            assert truth.metrics(name) == written(root / name)
            run, entries = truth.run(name), read(root / name)
            assert run.info.start_time == entries[0].time_ms
            assert run.info.end_time == entries[-1].time_ms
            assert run.data.params == {"lr": "0.001", "model.name": "hrm"}

    def test_may_have_repeats_below_its_trials(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        write_study(root, trials=1)
        write_run(root / "0" / "1", name="repeat", outcome="complete")
        project(root, uri)
        assert (
            truth.run("repeat").data.tags["mlflow.parentRunId"] == truth.run("0").info.run_id
        )

    def test_is_projected_while_it_runs(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        projection = Projection(root, tracking_uri=uri, experiment=EXPERIMENT)
        assert projection.step() == Backlog()
        with Record(root) as study, Record(root / "0") as trial:
            study.append("started", name="otter", kind="study")
            trial.append("started", name="0")
            assert projection.step() == Backlog()
            trial.metrics(1, {"x": 1.0})
            assert projection.step() == Backlog(sent=1)
            assert [row[:3] for row in truth.metrics("0")] == [("x", 1, 1.0)]
            assert truth.run("0").info.status == "RUNNING"
            assert truth.run("0").data.tags["hrm_sweep.outcome"] == "running"
        projection.close()
