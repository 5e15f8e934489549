"""Models taken out of MLflow after they were removed from their run folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlflow.tracking import MlflowClient

from hrm_sweep.runs import layout
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.system.locks import FileLock
from hrm_sweep.tracking import client as mlflow
from hrm_sweep.tracking import moved_store, store
from hrm_sweep.tracking.file_exporter import FileExporter
from hrm_sweep.tracking.run_files import RunFiles


def remove_models(uri: str, root: Path, folders: Iterable[Path]) -> int:
    """Remove what is gone from run folders.

    Where an exporter works on the study, that does it when the study ends.

    Args:
        root: folder of the study or single run.
        folders: of runs at or below it.

    Returns:
        How many files the server keeps, as it refuses to remove them.

    Raises:
        Unreachable: the server does not answer; it can be repeated.
    """
    path = store.database_path(uri)
    if path and not path.exists():
        return 0
    mlflow.be_patient(mlflow.TIMEOUT_SECONDS)
    moved_store.follow(uri)
    lock, client, num_kept = FileLock(root / layout.EXPORTER_LOCK), MlflowClient(uri), 0
    try:
        for folder in folders if lock.acquire(timeout=0) else ():
            state = ExportState.load(folder)
            there, exporter = RunFiles(client, state.run_id), FileExporter(folder, state)
            num_kept += exporter.remove_gone(there).count(False)
            state.save(folder)
    finally:
        lock.release()
    return num_kept
