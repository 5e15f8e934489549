"""Whether MLflow still has the runs that were exported to it: they may have been deleted there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from hrm_sweep.compat import mlflow as compat
from hrm_sweep.runs import layout
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.run_folders import run_folders
from hrm_sweep.tracking import client as mlflow
from hrm_sweep.tracking.errors import translated

AT_ONCE = 500
"""Run ids in one query."""


@dataclass(frozen=True)
class GoneRun:
    """A run that was exported, and is not in MLflow now."""

    folder: Path
    run_id: str
    can_be_restored: bool
    """It is only marked as deleted."""


def gone_runs(uri: str, root: Path, state_file: str = layout.EXPORT_STATE) -> list[GoneRun]:
    """Return the runs at and below a folder that were exported and are not in MLflow any more.

    Raises:
        Unreachable: the server does not answer.
    """
    states = [(folder, ExportState.load(folder, state_file)) for folder in run_folders(root)]
    exported = [(folder, state) for folder, state in states if state.run_id]
    stages: dict[str, str] = {}
    with _connected(uri) as client:
        for experiment_id in {state.experiment_id for _, state in exported}:
            ids = [state.run_id for _, state in exported if state.experiment_id == experiment_id]
            stages |= _stages(client, experiment_id, ids)
    return [
        GoneRun(folder, state.run_id, can_be_restored=state.run_id in stages)
        for folder, state in exported
        if stages.get(state.run_id) != "active"
    ]


def put_back(uri: str, runs: Iterable[GoneRun], state_file: str = layout.EXPORT_STATE) -> None:
    """Restore the runs that are marked as deleted; let the others be exported once more.

    Raises:
        Unreachable, Refused: see `errors`; it can be repeated.
    """
    with _connected(uri) as client:
        for run in runs:
            if run.can_be_restored:
                with translated():
                    client.restore_run(run.run_id)
            else:
                (run.folder / state_file).unlink(missing_ok=True)


@contextmanager
def _connected(uri: str) -> Iterator[MlflowClient]:
    """Yield a client that sees the database as it is now, and holds no file afterwards."""
    mlflow.be_patient(mlflow.TIMEOUT_SECONDS)
    compat.drop_connections(uri)
    try:
        yield MlflowClient(uri)
    finally:
        compat.drop_connections(uri)


def _stages(client: MlflowClient, experiment_id: str, run_ids: list[str]) -> dict[str, str]:
    """Return the lifecycle stage of those of the runs that MLflow knows."""
    found: dict[str, str] = {}
    for first in range(0, len(run_ids), AT_ONCE):
        some = ", ".join(f"'{run_id}'" for run_id in run_ids[first : first + AT_ONCE])
        with translated():
            page = client.search_runs(
                [experiment_id], f"attributes.run_id IN ({some})", ViewType.ALL, AT_ONCE
            )
        found |= {run.info.run_id: run.info.lifecycle_stage for run in page}
    return found
