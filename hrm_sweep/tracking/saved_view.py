"""The table of a study's trials in the MLflow UI: which runs, which columns, in which order.

The UI keeps a shared view as a tag of the experiment, and opens it by the tag's key. That is not in
MLflow's documentation; a UI that does not know it shows its usual table.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.tracking.limits import legal_name

_TAG = "mlflow.sharedViewState."
RANK = "hrm_sweep.rank"
"""Metric of a complete trial: 1 for the best of the study."""
MODEL_TRAINING = "workflowType=machine_learning"
"""Without it the UI shows what it has for language models."""


def best_name(metric: str) -> str:
    """Return the name under which MLflow has the final value of a metric."""
    return metric if metric.startswith("best/") else f"best/{metric}"


def tag_of_view(study: Mapping[str, Any], run_id: str) -> tuple[str, str]:
    """Return the experiment tag that makes `path_of_view` a table of a study's trials, best first.

    Args:
        study: the `started` fields of the study's record.
        run_id: of the study.
    """
    judged = study["judged"]
    metrics = [best_name(name) for name in judged["objectives"]]
    if judged["repeats"] > 1:
        metrics += [f"{name}/std" for name in metrics]
    if judged["tie_breaker"]:
        metrics.append(best_name(judged["tie_breaker"]))
    columns = [f"params.`{legal_name(name)}`" for name in study["params"]]
    columns += [f"metrics.`{legal_name(name)}`" for name in [RANK, *metrics]]
    state = {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{run_id}'",
        "orderByKey": f"metrics.`{RANK}`",
        "orderByAsc": True,  # runs without a rank come last either way
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*columns, "tags.`hrm_sweep.outcome`"],
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return _TAG + run_id, f"deflate;{packed}"


def page_of(state: ExportState, *, is_study: bool) -> str:
    """Return where the UI shows a study's trials, best first, or a run; else all that it has.

    Args:
        state: of the export of the study or run.
    """
    if not state.run_id:
        return f"/#/experiments?{MODEL_TRAINING}"
    if is_study:
        return f"/{path_of_view(state.experiment_id, state.run_id)}"
    return f"/#/experiments/{state.experiment_id}/runs/{state.run_id}"


def path_of_view(experiment_id: str, run_id: str) -> str:
    """Where the UI shows that table, below the address of the server."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={run_id}&{MODEL_TRAINING}"
