"""`report.html`: a study on one page, and its figures as PNG."""

from __future__ import annotations

import traceback
from contextlib import suppress
from pathlib import Path

from hrm_sweep.engine.elsewhere import whole
from hrm_sweep.errors import HrmSweepError
from hrm_sweep.runs import pictures
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study


def write_report(found: Study | Run, *, follows: bool = False) -> list[str]:
    """Write `report.html` and `figures/*.png` into the folder of a study or a run.

    Args:
        follows: whether the page loads itself again every few seconds.

    Returns:
        The names of the files, below the folder.
    """
    from hrm_sweep.report import page, run_page  # matplotlib: only where something is drawn

    if isinstance(found, Study):
        return page.write(found, follows=follows)
    return run_page.write(found, follows=follows)


def import_ahead() -> None:
    """Import what `draw_report` needs; where that fails, it says so itself."""
    with suppress(Exception):
        from hrm_sweep.report import page  # noqa: F401


def draw_report(folder: Path, storage: str) -> list[str]:
    """Draw the report of a study that has ended, which does not fail for its report.

    Args:
        storage: URL of Optuna's, which knows the trials that are not in the folder.

    Returns:
        Names of the files below the folder; none if it cannot be drawn; the reason is in the log.
    """
    try:
        study = whole(Study(Run.open(folder)), storage)
        return write_report(study) if study.trials else []
    except (*pictures.FAILURES, HrmSweepError):
        pictures.log(folder, traceback.format_exc())
        return []
