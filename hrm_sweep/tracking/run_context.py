"""Plugin of MLflow: what a task adds to MLflow by itself belongs to the trial's run.

MLflow loads it by its entry point `mlflow.run_context_provider`, in any process that imports
MLflow, and asks it for tags of each new run.
"""

from __future__ import annotations

import mlflow
from mlflow.tracking.context.abstract_context import RunContextProvider

from hrm_sweep.errors import TrackingError
from hrm_sweep.runs import handle
from hrm_sweep.tracking.store import resolve_uri


class TrialContext(RunContextProvider):
    """Makes the runs of a task children of the trial's run, where that is in the same MLflow."""

    def in_context(self) -> bool:
        """Return whether this process runs a trial that is exported to the MLflow in use."""
        try:
            uri = handle.current().mlflow_uri
            return uri is not None and uri == resolve_uri(mlflow.get_tracking_uri())
        except TrackingError:
            return False

    def tags(self) -> dict[str, str]:
        """Return the tag that names the parent; an active run has precedence over it."""
        run_id = handle.current().mlflow_run_id
        return {"mlflow.parentRunId": run_id} if run_id else {}
