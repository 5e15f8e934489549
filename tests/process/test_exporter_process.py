"""The process that sends records: quick to start, live, and gone when nobody needs it any more."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from studies import is_gone, until
from truth import Truth, fresh_database

from hrm_sweep.errors import TrackingError
from hrm_sweep.hrm.description import APP
from hrm_sweep.hrm.pictures.draw import draw
from hrm_sweep.runs.export_state import Backlog
from hrm_sweep.runs.record import Record
from hrm_sweep.tracking.exporter_process import ExporterProcess


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return fresh_database(tmp_path / "mlruns")


@pytest.fixture
def truth(uri: str) -> Truth:
    return Truth(uri)


def test_a_study_appears_in_mlflow_while_it_runs(tmp_path, uri, truth):
    root = tmp_path / "multirun" / "otter"
    with Record(root) as study:
        study.append("started", name="otter", kind="study")
        begin = time.monotonic()
        exporter = ExporterProcess(root, uri, "hrm_sweep", pictures=APP.pictures)
        waited = time.monotonic() - begin
        pid = exporter._process.pid
        with Record(root / "0") as trial:
            trial.append("started", name="trial 0")
            until(lambda: len(truth.runs()) == 2)
            assert waited < (time.monotonic() - begin) / 3  # the process imports without its parent
            os.kill(pid, signal.SIGINT)  # what Ctrl-C may send to the whole group
            for step in (1, 2, 3):
                trial.metrics(step, {"x": step})
                until(lambda step=step: len(truth.metrics("trial 0")) == step)
            assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + 5
            trial.append("dataset", name="puzzles", train_size=8, eval_size=4, digest="ab")
            (root / "0" / "predictions.json").write_text("[]")
            trial.append("finished", outcome="complete", artifacts=["predictions.json"])
        until(lambda: truth.run("trial 0").info.status == "FINISHED")
        assert truth.files("trial 0")["training_metrics.png"].startswith(b"\x89PNG")
        study.append("finished", outcome="complete")
    assert exporter.close() == Backlog(sent=3)
    assert truth.run("otter").info.status == "FINISHED"
    assert is_gone(pid)


def test_a_database_of_another_version_is_told_before_anything_starts(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database")
    with pytest.raises(TrackingError, match="no MLflow database"):
        ExporterProcess(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", "hrm_sweep")


class TestDrawing:
    def test_makes_the_pictures_whose_sources_are_there(self, tmp_path):
        assert draw(tmp_path) == []
        with Record(tmp_path) as run:
            run.append("started", name="run")
            assert draw(tmp_path) == []
            run.append("dataset", name="puzzles", eval_size=4)
            for step in (1, 2, 3):
                run.metrics(step, {"train/loss": 1 / step, "eval/exact_match": 0.5})
            run.append("finished", outcome="killed")
        (tmp_path / "training_history.json").write_text("a copy, which is not read")
        assert draw(tmp_path) == ["training_metrics.png"]
        assert (tmp_path / "training_metrics.png").read_bytes().startswith(b"\x89PNG")

    def test_that_fails_is_logged_and_stops_nothing(self, tmp_path):
        (tmp_path / "predictions.json").write_text("{")
        assert draw(tmp_path) == []
        assert "JSONDecodeError" in (tmp_path / "projector.log").read_text()
