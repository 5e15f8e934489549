"""`clean`: models go by rule, here and from MLflow; a command that misses one says so."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from studies import STUDY, sweep
from tracking_server import TrackingServer
from truth import Truth

from hrm_sweep.errors import CheckpointError
from hrm_sweep.hrm.load import load_run
from hrm_sweep.runs import layout, models, record
from hrm_sweep.runs.app import App
from hrm_sweep.runs.record import Record

MODEL, SIZE = "best_model.pth", 500_000
DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def write_run(folder: Path, outcome: str = "complete", value: float = 0.0, **started) -> None:
    app = App(name="any", command=("any",), replaces_models=True)
    with Record(folder) as run:
        run.append("started", name=folder.name, app=app.to_record(), description="", **started)
        (folder / MODEL).write_bytes(b"w" * SIZE)
        best = {"x": value} if outcome == "complete" else {}
        run.append(
            "finished",
            outcome=outcome,
            best=best,
            reason="",
            seconds=1.0,
            facts={},
            artifacts=[MODEL],
        )


def write_study(name: str = "small", *, values=(2.0, 1.0, 3.0), uri: str | None = None) -> Path:
    """A study with a complete trial for each value, and one that was interrupted."""
    folder, tags = layout.MULTIRUN / name, {"hrm_sweep.study": name}
    judged = {"objectives": ["x"], "directions": ["minimize"], "constraints": []}
    with Record(folder) as study:
        study.append(
            "started",
            **{"kind": "study", "name": name, "description": "    any -m", "params": {}},
            judged={**judged, "tie_breaker": None, "columns": [], "repeats": 1},
            tracking={"uri": uri, "experiment": "e"},
            **{"num_trials": 4, "storage": "sqlite:///multirun/none.db", "tags": tags},
        )
        for number, value in enumerate([*values, None]):
            outcome = "interrupted" if value is None else "complete"
            own = tags | {"hrm_sweep.trial": str(number)}
            write_run(folder / str(number), outcome, value or 0.0, kind="trial", tags=own)
        study.append("finished", outcome="complete", reason="3 complete")
    return folder


def kept(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob(f"*/{MODEL}"))


def in_mlflow(truth: Truth) -> list[str]:
    return [name for name in "0123" if MODEL in truth.files(name)]


def test_what_goes_is_said_before_and_nothing_goes_without_a_yes(typed, monkeypatch):
    folder = write_study()
    code, said, _ = typed("clean", "--dry-run")
    assert code == 0
    assert "small  1.0 MB  2 of 4 trials" in said
    assert "This frees 1.0 MB: 2 model files.\n" in said
    assert "small: checkpoints stay of 1 run that can continue" in said
    code, _, error = typed("clean", "small")
    assert (code, error) == (2, "clean: there is no terminal to confirm at; add --yes")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "no")
    assert typed("clean")[1].endswith("Nothing was removed.\n")
    assert kept(folder) == ["0", "1", "2", "3"]
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    assert typed("clean")[1].endswith("Removed: 1.0 MB.\n")
    assert kept(folder) == ["1", "3"]
    assert typed("clean", "--yes")[1].endswith("There is nothing to remove.\n")


@pytest.mark.slow
def test_models_in_mlflow_go_too_and_a_link_counts_once(typed):
    folder = write_study()
    assert typed("sync")[0] == 0
    truth = Truth("sqlite:///mlruns/mlflow.db")
    assert in_mlflow(truth) == ["0", "1", "2", "3"]
    assert (folder / "0" / MODEL).stat().st_nlink == 2
    assert typed("clean", "--yes", "--keep-best", "2")[1].endswith("Removed: 500 kB.\n")
    assert (kept(folder), in_mlflow(truth)) == (["0", "1", "3"], ["0", "1", "3"])
    assert typed("sync") == (0, "everything is in MLflow\n", "")


def test_who_misses_a_model_is_told_who_removed_it(typed):
    folder = write_study(values=(2.0, 1.0))
    typed("clean", "--yes")
    models.remove(folder / "1", [MODEL], by="study.keep_models=none")
    today = time.strftime("removed by {} on %Y-%m-%d")
    assert today.format("study.keep_models=none") in typed("best")[1]
    assert today.format("clean") in typed("show", "small/0")[1]
    (folder / "0" / "config.yaml").write_text("model: {}\n")
    (folder / "0" / "record.jsonl").unlink()
    with pytest.raises(CheckpointError, match=r"was removed by clean on .* to train it again: "):
        load_run(folder / "0")
    code, _, error = typed(f"model.init_from={folder / '0' / MODEL}")
    assert code == 2
    assert f"model.init_from={folder / '0' / MODEL}: was removed by clean on " in error


def test_age_decides_and_single_runs_go_by_age_or_name_alone(typed, monkeypatch):
    folder = write_study()
    for name in ("old", "named", "stopped"):
        outcome = "interrupted" if name == "stopped" else "complete"
        params = {"tracking.name": "off"}
        write_run(layout.SINGLE_RUNS / name, outcome, kind="train", tags={}, params=params)
    assert "There is nothing to remove." in typed("clean", "--older-than", "2w", "--yes")[1]
    assert "named" not in typed("clean", "--dry-run")[1]
    said = typed("clean", "named", "stopped", "--yes")[1]
    assert "named  500 kB  a single run" in said
    assert "stopped: checkpoints stay of 1 run that can continue" in said
    assert kept(layout.SINGLE_RUNS) == ["old", "stopped"]
    later = time.time() + 30 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    typed("clean", "--older-than", "2w", "--yes")
    assert (kept(layout.SINGLE_RUNS), kept(folder)) == (["stopped"], ["1", "3"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keep-best", "0"], "--keep-best: 0: must be 1 or more; the best trial keeps its own"),
        (["--keep-best", "x"], "--keep-best: x: must be 1 or more"),
        (["--older-than", "x"], "--older-than: x: must be a time with units, such as 12h or 30d"),
        (["--older-than", "-1d"], "--older-than"),
        (["small/0"], "small/0: is part of study small; name the whole study: small"),
        (["none"], "none: no study or run of that name"),
    ],
)
def test_what_cannot_be_meant_is_refused(typed, arguments, message):
    folder = write_study()
    code, _, error = typed("clean", "--yes", *arguments)
    assert code == 2
    assert message in error
    assert kept(folder) == ["0", "1", "2", "3"]


def test_a_running_trial_and_one_whose_result_the_best_has_reused_keep_theirs(typed):
    folder = write_study(values=(2.0, 1.0))
    tags = {"hrm_sweep.study": "small", "hrm_sweep.trial": "4"}
    with Record(folder / "4") as run:
        run.append("started", kind="trial", name="4", tags=tags)
        (folder / "4" / MODEL).touch()
        typed("clean", "--yes")
    assert kept(folder) == ["1", "2", "4"]
    assert [record.ends(folder / name)[1].event for name in "24"] == ["finished", "started"]


@pytest.fixture
def server(tmp_path) -> Iterator[TrackingServer]:
    running = TrackingServer(tmp_path / "server")
    try:
        running.wait()
        yield running
    finally:
        running.stop()


@pytest.mark.slow
def test_a_server_is_asked_to_remove_them_and_one_that_is_away_later(typed, server):
    folder = write_study(uri=f"http://127.0.0.1:{server.port}")
    assert typed("sync")[0] == 0
    assert in_mlflow_of(server) == 4
    assert typed("clean", "--keep-best", "2", "--yes")[1].endswith("Removed: 500 kB.\n")
    assert in_mlflow_of(server) == 3
    server.stop()
    code, said, _ = typed("clean", "--yes")
    assert code == 0
    assert f"small: MLflow at http://127.0.0.1:{server.port} has its copies still (" in said
    assert said.endswith("Removed.\n")
    assert kept(folder) == ["1", "3"]
    assert "small  0 bytes  1 of 4 trials" in typed("clean", "--dry-run")[1]


def in_mlflow_of(server: TrackingServer) -> int:
    return len(list(server.root.rglob(MODEL)))


def test_a_study_of_any_app_keeps_the_models_that_it_is_asked_for():
    done = sweep(
        *("+x=1,2,3", "+checkpoint_every=5", "hydra.sweeper.keep_models=best"),
        "hydra.sweeper.model_files=[checkpoint]",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.parent.name for path in STUDY.glob("*/checkpoint")] == ["1"]
    gone = models.RemovedModels.load(STUDY / "0")
    assert gone is not None
    assert (gone.by, gone.files) == ("hydra.sweeper.keep_models=best", {"checkpoint": 2})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("keep_models=some", "hydra.sweeper.keep_models=some: must be one of all, best, none"),
        ("model_files=['']", "hydra.sweeper.model_files="),
    ],
)
def test_a_setting_that_says_nothing_is_refused(override, message):
    done = sweep("+x=1", f"hydra.sweeper.{override}")
    assert done.returncode == 2
    assert message in done.stderr
    assert not STUDY.exists()
