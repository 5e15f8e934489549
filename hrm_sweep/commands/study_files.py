"""Removal of a study's folder: the files of the study, and no others."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from hrm_sweep.runs import layout
from hrm_sweep.runs.record import has_begun
from hrm_sweep.runs.run_folders import runs_below

OWN_FILES = (
    *(layout.FIGURES, layout.REPORT, layout.STUDY_RESULTS, layout.CACHED_RESULTS),
    *(layout.ANNOTATIONS, layout.ANNOTATIONS_LOCK),
    *("trials.csv", "trials.parquet", ".*-*-????????.lock", "mlflow_copy_*.json"),
    *(layout.EXPORTER_LOCK, layout.EXPORTER_LOG, layout.EXPORT_STATE),
    *(layout.SWEEP_CONFIG, layout.RECORD),
)
"""What a study leaves beside its runs, as patterns; the record goes last, so that a removal that
was cut off can be repeated."""


def remove(folder: Path) -> list[str]:
    """Remove a study from its folder, and the folder if it is empty then.

    Returns:
        Names of what stays, which is not the study's.
    """
    for path in [*_own(folder)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        _remove_empty(path.parent, folder)
    left = sorted(path.name for path in folder.iterdir())
    if not left:
        with contextlib.suppress(OSError):  # the folder in which the command works
            folder.rmdir()
    return left


def _own(folder: Path) -> Iterator[Path]:
    for name in runs_below(folder):
        yield folder / name
    for path in folder.glob("[0-9]*"):  # trials that were cut off before their record began
        if path.name.isdecimal() and path.is_dir() and not has_begun(path):
            yield path
    for pattern in OWN_FILES:
        yield from folder.glob(pattern)


def _remove_empty(parent: Path, folder: Path) -> None:
    """Remove the folders between a trial and the study that are empty now."""
    while parent != folder and not any(parent.iterdir()):
        parent.rmdir()
        parent = parent.parent
