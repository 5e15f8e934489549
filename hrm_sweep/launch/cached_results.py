"""Results that are reused because a complete run of the sweep has the same recipe.

The sweep's folder has a file for each complete recipe, named by its digest, with the run's folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from hrm_sweep.runs import layout
from hrm_sweep.runs.handle import finished_values
from hrm_sweep.system import files


class CachedResult(NamedTuple):
    """The result of another run."""

    name: str
    """`trial 3` or `trial 3, repeat 1`."""
    folder: Path
    values: dict[str, float]


def find(sweep: Path, digest: str, *, asking: Path) -> CachedResult | None:
    """Return the result of a recipe, if another complete run of the sweep has the same one."""
    try:
        name = _entry(sweep, digest).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    folder = sweep / name
    values = finished_values(folder)
    if not values or folder.absolute() == asking.absolute():
        return None
    return CachedResult(f"trial {name.replace('/', ', repeat ')}", folder, values)


def add(sweep: Path, digest: str, folder: Path) -> None:
    """Make the result of a complete run known to later runs of the sweep."""
    files.write_text(_entry(sweep, digest), os.path.relpath(folder, sweep))


def _entry(sweep: Path, digest: str) -> Path:
    folder = sweep / layout.CACHED_RESULTS
    folder.mkdir(exist_ok=True)
    return folder / digest
