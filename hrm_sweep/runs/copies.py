"""Copies that `reproduce` makes of runs: the tags by which a run is known as one."""

from __future__ import annotations

import json
import os

from hrm_sweep.runs.run import COPY_ID_TAG, COPY_TAG, Run

ORIGINAL_TAG = "hrm_sweep.reproduces"
HANDED = "HRM_SWEEP_REPRODUCES"
"""Environment variable: the tags of a copy, for the command of another app, as JSON."""


def copy_tags(original: Run) -> dict[str, str]:
    """Return the tags of a copy: its original's run in MLflow, or else its record; where it is."""
    return {
        ORIGINAL_TAG: original.mlflow_run_id or original.first.fields["record"],
        COPY_TAG: str(original.folder),
        COPY_ID_TAG: original.whole_id,
    }


def handed_variable(original: Run) -> dict[str, str]:
    """Return the environment variable by which a command makes a copy."""
    return {HANDED: json.dumps(copy_tags(original))}


def handed_tags() -> dict[str, str]:
    """Return the tags of the copy that this process makes; nothing if it makes none."""
    return dict(json.loads(os.environ.get(HANDED, "{}")))
