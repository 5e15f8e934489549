"""`report.html`: a study on one page, and its figures as PNG."""

from __future__ import annotations

import traceback
from pathlib import Path

from hrm_sweep.engine.elsewhere import whole
from hrm_sweep.errors import HrmSweepError
from hrm_sweep.runs import pictures
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study


def draw_report(folder: Path, storage: str) -> list[str]:
    """Draw the report of a study that has ended, which does not fail for its report.

    Args:
        storage: URL of Optuna's, which knows the trials that are not in the folder.

    Returns:
        Names of the files below the folder; none if it cannot be drawn; the reason is in the log.
    """
    try:
        from hrm_sweep.report.page import write  # matplotlib: only where something is drawn

        study = whole(Study(Run.open(folder)), storage)
        return write(study) if study.trials else []
    except (*pictures.FAILURES, HrmSweepError):
        pictures.log(folder, traceback.format_exc())
        return []
