"""`report.html`: a study on one page, and its figures as PNG."""

from __future__ import annotations

import traceback
from pathlib import Path

from hrm_sweep.errors import HrmSweepError
from hrm_sweep.runs import pictures
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study


def draw_report(folder: Path) -> list[str]:
    """Draws the report of the study in `folder` where a study ends: it may lack a report, but not
    fail for it.

    Returns:
        Names of the files below the folder; none if it cannot be drawn, and the log says why.
    """
    try:
        from hrm_sweep.report.page import write  # matplotlib: only where something is drawn

        study = Study(Run.open(folder))
        return write(study) if study.trials else []
    except (*pictures.FAILURES, HrmSweepError):
        pictures.log(folder, traceback.format_exc())
        return []
