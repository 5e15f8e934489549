"""A run's folder, brought back from MLflow: its record is among the run's artifacts."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from mlflow.artifacts import download_artifacts

from hrm_sweep.errors import TrackingError
from hrm_sweep.runs import layout
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.tracking import client, moved_store, store
from hrm_sweep.tracking.errors import Gone, Refused, translated


def fetch(uri: str | None, run_id: str, folder: Path) -> Path:
    """Write what MLflow has of a run into `folder`, which is a run folder then.

    Raises:
        TrackingError: MLflow knows no such run, or the run left no record there.
        Unreachable: the server does not answer.
    """
    address = store.resolve_uri(uri)
    client.be_patient(client.TIMEOUT_SECONDS)
    moved_store.follow(address)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        try:
            with translated():
                download_artifacts(run_id=run_id, dst_path=temporary, tracking_uri=address)
        except (Gone, Refused) as error:
            raise TrackingError(f"{run_id}: MLflow has no such run ({error})") from None
        if not Path(temporary, layout.RECORD).exists():
            raise TrackingError(f"{run_id}: MLflow has the run, but no {layout.RECORD} of it")
        shutil.copytree(temporary, folder, dirs_exist_ok=True)
    size = (folder / layout.RECORD).stat().st_size
    ExportState(run_id=run_id, finished=True, size=size).save(folder)  # it is in MLflow, whole
    return folder
