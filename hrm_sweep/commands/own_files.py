"""Removal of the folder of a study or of a single run: its own files, and no others."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from hrm_sweep.runs import layout
from hrm_sweep.runs.record import has_begun
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_folders import runs_below

OF_BOTH = (
    *("trials.csv", "trials.parquet", "mlflow_copy_*.json"),
    *(layout.ANNOTATIONS, layout.ANNOTATIONS_LOCK),
    *(layout.EXPORTER_LOCK, layout.EXPORTER_LOG, layout.EXPORT_STATE),
)
OF_A_STUDY = (
    *(layout.FIGURES, layout.REPORT, layout.STUDY_RESULTS, layout.CACHED_RESULTS),
    *(".*-*-????????.lock", *OF_BOTH),
    *(layout.SWEEP_CONFIG, layout.RECORD),
)
"""What a study leaves beside its runs, as patterns; the record goes last, so that a removal that
was cut off can be repeated."""
OF_A_RUN = (
    *(layout.RESULT, layout.CONFIG, layout.OVERRIDES, layout.ENVIRONMENT, layout.LOG, ".hydra"),
    *(layout.REPORT, layout.FIGURES, *OF_BOTH),
)
"""What any run leaves in its folder, beside what its record names."""


def remove_study(folder: Path) -> list[str]:
    """Remove a study from its folder, and the folder if it is empty then.

    Returns:
        Names of what stays, which is not the study's.
    """
    return _remove(folder, [*_of_study(folder)])


def remove_run(run: Run) -> list[str]:
    """Remove a single run from its folder, and the folder if it is empty then.

    The folder is removed whole if it is in `multirun/`, where only runs write. Any other one is the
    user's own choice, with `hydra.run.dir`, and may have files of his.

    Returns:
        Names of what stays, which is not the run's.
    """
    is_ours = run.folder.resolve().is_relative_to(layout.MULTIRUN.resolve())
    return _remove(run.folder, [*run.folder.iterdir()] if is_ours else [*_of_run(run)])


def _remove(folder: Path, paths: list[Path]) -> list[str]:
    """Remove paths below a folder, its record last."""
    for path in sorted(paths, key=lambda path: path == folder / layout.RECORD):
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


def _of_run(run: Run) -> Iterator[Path]:
    for entry in run.entries:
        for name in entry.fields.get("artifacts", ()) if entry.event == "finished" else ():
            path = run.folder / name
            if path.parent.resolve().is_relative_to(run.folder.resolve()):
                yield path
    for name in OF_A_RUN:
        yield from run.folder.glob(name)
    yield run.folder / layout.RECORD


def _of_study(folder: Path) -> Iterator[Path]:
    for name in runs_below(folder):
        yield folder / name
    for path in folder.glob("[0-9]*"):  # trials that were cut off before their record began
        if path.name.isdecimal() and path.is_dir() and not has_begun(path):
            yield path
    for pattern in OF_A_STUDY:
        yield from folder.glob(pattern)


def _remove_empty(parent: Path, folder: Path) -> None:
    """Remove the folders between a trial and the study that are empty now."""
    while parent != folder and parent.exists() and not any(parent.iterdir()):
        parent.rmdir()
        parent = parent.parent
