"""Snapshot: all that a study has left, read without the engine's own readers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import optuna

UNEQUAL = ("time/", "system/", "best/objective", "hrm_sweep.rank")
"""Metrics that no two runs have in common, or that tell in which order trials ended."""
Row = tuple[str, str, int, float]
"""Run, key, step and value in MLflow."""


class Snapshot(NamedTuple):
    """What a study has left.

    Attributes:
        trials: of Optuna, by number: state, parameters, value and curve.
        records: of the trials' folders, by number: outcome and curve.
        weights: digest of the tensors that a trial ended with, by number.
        statuses: of MLflow's runs, by name and status: how many there are.
        rows: of MLflow's metrics: how often each is there.
        files: of the study's folder.
    """

    trials: dict[int, Any]
    records: dict[int, Any]
    weights: dict[int, str]
    statuses: Counter[tuple[str, str]]
    rows: Counter[Row]
    files: set[str]


def take(study: Path, storage: str, mlflow: Path | None, experiment: str) -> Snapshot:
    """Read what a study left in its folder, in Optuna and, if it is tracked, in MLflow."""
    found = [path.parent for path in study.glob("*/record.jsonl") if path.parent.name.isdecimal()]
    folders = {int(folder.name): folder for folder in found}
    statuses, rows = _of_mlflow(mlflow, experiment) if mlflow else (Counter(), Counter())
    return Snapshot(
        trials=_of_optuna(storage),
        records={number: _of_record(folder) for number, folder in sorted(folders.items())},
        weights={number: _of_weights(folder) for number, folder in sorted(folders.items())},
        statuses=statuses,
        rows=rows,
        files={str(path.relative_to(study)) for path in study.rglob("*") if path.is_file()},
    )


def _of_optuna(storage: str) -> dict[int, Any]:
    trials = optuna.load_study(study_name="study", storage=storage).get_trials()
    return {
        trial.number: (trial.state.name, trial.params, trial.values, trial.intermediate_values)
        for trial in trials
    }


def _of_record(folder: Path) -> Any:
    outcome, curve = "", {}
    for line in whole_lines(folder / "record.jsonl"):
        entry = json.loads(line)
        if entry["event"] == "finished":
            outcome = entry["outcome"]
        elif entry["event"] == "rewound":
            curve = {place: value for place, value in curve.items() if place[0] < entry["step"]}
        elif entry["event"] == "metrics":
            for key, value in entry["values"].items():
                if not key.startswith(UNEQUAL):
                    curve[entry["step"], key] = value
    return outcome, curve


def whole_lines(path: Path) -> list[bytes]:
    """Return the lines of a file without the last one, which may be torn."""
    return path.read_bytes().split(b"\n")[:-1]


def _of_weights(folder: Path) -> str:
    path = folder / "final_model.pth"
    if not path.exists():
        return ""
    from hrm_sweep.hrm.training import checkpoint  # it imports torch, for half of the studies none

    digest = hashlib.sha256()
    for name, tensor in sorted(checkpoint.load(path)["model"].items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _of_mlflow(database: Path, experiment: str) -> tuple[Counter[tuple[str, str]], Counter[Row]]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        runs = connection.execute(
            "SELECT run_uuid, runs.name, status FROM runs JOIN experiments USING (experiment_id) "
            "WHERE experiments.name = ? AND runs.lifecycle_stage = 'active'",
            (experiment,),
        ).fetchall()
        rows: Counter[Row] = Counter()
        for run, name, _ in runs:
            found = connection.execute(
                "SELECT key, step, value FROM metrics WHERE run_uuid = ?", (run,)
            ).fetchall()
            rows.update((name, *row) for row in found if not row[0].startswith(UNEQUAL))
    return Counter((name, status) for _, name, status in runs), rows
