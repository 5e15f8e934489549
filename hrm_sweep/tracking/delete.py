"""Runs taken out of MLflow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from mlflow.tracking import MlflowClient

from hrm_sweep.errors import TrackingError
from hrm_sweep.tracking import client as mlflow
from hrm_sweep.tracking import moved_store, store
from hrm_sweep.tracking.errors import Gone, Refused, translated

AT_ONCE = 500
"""Run ids in one command line."""


def delete(uri: str, run_ids: Sequence[str]) -> bool:
    """Delete runs; ids that are gone already are no error.

    Returns:
        Whether they are gone for good, files and all: a server only marks them as deleted, and its
        own `mlflow gc` does the rest.

    Raises:
        Unreachable: the server does not answer.
        TrackingError: the files could not be removed.
    """
    mlflow.be_patient(mlflow.TIMEOUT_SECONDS)
    moved_store.follow(uri)
    client = MlflowClient(uri)
    there = [run_id for run_id in run_ids if _mark(client, run_id)]
    if store.database_path(uri) is None:
        return False
    for first in range(0, len(there), AT_ONCE):
        _collect(uri, there[first : first + AT_ONCE])
    return True


def _mark(client: MlflowClient, run_id: str) -> bool:
    """Mark a run as deleted; return False if there is none."""
    try:
        with translated():
            client.delete_run(run_id)
    except Gone:
        return False
    except Refused:
        return True  # it is marked already
    return True


def _collect(uri: str, run_ids: Sequence[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "gc", "--run-ids", ",".join(run_ids)],
        env={**os.environ, "MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise TrackingError(f"mlflow gc: {' '.join(last)}; the study is still there, try again")
