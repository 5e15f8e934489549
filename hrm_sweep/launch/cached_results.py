"""Results that are reused because a complete run of the sweep has the same recipe.

The sweep's folder has a file for each complete recipe, named by its digest, with the run's folder.
It only says where to look: values come from the record of that run, if it proves what was asked.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import layout
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_folders import is_run_of
from hrm_sweep.system import files


class CachedResult(NamedTuple):
    """The result of another run."""

    name: str
    """`trial 3` or `trial 3, repeat 1`."""
    folder: Path
    values: dict[str, float]


def find(sweep: Path, digest: str, *, asking: Path) -> CachedResult | None:
    """Return the result of a recipe, if another complete run of the sweep has the same one.

    A run of another study, a copy of a run, and an edited record have none.
    """
    try:
        folder = sweep / _entry(sweep, digest).read_text(encoding="utf-8")
        run = complete_run(folder, digest)
    except (OSError, ValueError):  # not there, or no name of a folder
        return None
    if run is None or folder.absolute() == asking.absolute() or not is_run_of(sweep, folder):
        return None
    repeat = run.tags.get("hrm_sweep.repeat")
    name = f"trial {run.number}" + ("" if repeat is None else f", repeat {repeat}")
    return CachedResult(name, folder, run.values)


def complete_run(folder: Path, digest: str) -> Run | None:
    """Return the run in a folder if it is complete and has the recipe of this digest."""
    try:
        run = Run.open(folder)
    except RecordError:
        return None
    is_recipe = digest.startswith(run.tags.get("hrm_sweep.signature", "none"))
    return run if is_recipe and run.outcome is Outcome.COMPLETE and run.values else None


def add(sweep: Path, digest: str, folder: Path) -> None:
    """Make the result of a complete run known to later runs of the sweep."""
    files.write_text(_entry(sweep, digest), os.path.relpath(folder, sweep))


def _entry(sweep: Path, digest: str) -> Path:
    folder = sweep / layout.CACHED_RESULTS
    files.make_folder(folder)
    return folder / digest
