"""Studies and runs found by their folders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from hrm_sweep.errors import RecordError, StudyError
from hrm_sweep.runs import layout
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study

Found = TypeVar("Found", bound=Study | Run)


def open_folder(folder: Path) -> Study | Run:
    """Return the study or the run whose record is in the folder.

    Raises:
        RecordError: there is no record, or it was edited.
    """
    run = Run.open(folder)
    return Study(run) if run.kind == "study" else run


def studies_below(root: Path = layout.MULTIRUN) -> list[Study]:
    """Return the studies below a folder, the newest first, without those with an edited record.

    Hydra's own default puts a study two folders deep: `multirun/<date>/<time>`.
    """
    found = []
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        here = study_in(folder)
        below = [] if here else [study_in(path) for path in folder.glob("*") if path.is_dir()]
        found += [study for study in (here, *below) if study]
    return newest_first(found)


def newest_first(found: Iterable[Found]) -> list[Found]:
    """Return studies and runs by their last entry, the latest first."""
    return sorted(found, key=lambda each: -each.last_ms)


def study_in(folder: Path) -> Study | None:
    """Return the study whose record is in the folder; None if there is none, or it was edited."""
    with contextlib.suppress(RecordError, StudyError, KeyError):
        study = open_folder(folder)
        if isinstance(study, Study) and study.objectives:
            return study
    return None


def single_run_folders() -> list[Path]:
    """Return the folders of the single runs below `multirun/train/`, by name."""
    return [path.parent for path in sorted(layout.SINGLE_RUNS.glob(f"*/{layout.RECORD}"))]


def single_runs() -> list[Run]:
    """Return the single runs below `multirun/train/`, by name, without those that were edited."""
    found = []
    for folder in single_run_folders():
        with contextlib.suppress(RecordError):
            found.append(Run.open(folder))
    return found
