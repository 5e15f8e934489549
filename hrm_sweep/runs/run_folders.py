"""Which folders hold the runs of a study: its trials, and the repeats of a trial.

A record alone does not make a folder one of them. MLflow keeps copies of records among its files,
people copy a trial's folder before they try something, and another study may lie below. So a
record has to be of this study, and to lie where its run was.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePath

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import layout, record

FOLDER_TAG = "hrm_sweep.folder"
STUDY_TAGS = ("hrm_sweep.study_id", "hrm_sweep.study")
"""Tags that name the study; the first one that two records share decides."""


def run_folders(root: Path) -> Iterator[Path]:
    """Yield `root` and the run folders below it, parents first."""
    if (root / layout.RECORD).exists():
        yield root
    for name in runs_below(root):
        yield from run_folders(root / name)


def runs_below(folder: Path, known: set[str] | None = None) -> list[str]:
    """Return the names of the run folders that belong to the run in a folder, in order.

    These are the trials of a study, wherever its `hydra.sweep.subdir` puts them, or the repeats of
    a trial, which are numbered. A record that has no entry yet may be found by a later call.

    Args:
        known: names to leave out. Those of folders that belong to something else are added.
    """
    is_study = (folder / layout.SWEEP_CONFIG).exists()
    return trials_below(folder, known) if is_study else _numbers_in(folder, known)


def trials_below(folder: Path, known: set[str] | None = None) -> list[str]:
    """Return the names of the trials' folders below that of a study; see `runs_below`."""
    known = set() if known is None else known
    return _own(folder, _records_in(folder, "", known), known)


def is_run_of(study: Path, folder: Path) -> bool:
    """Return whether a folder below that of a study holds one of its trials or repeats."""
    try:
        name = folder.absolute().relative_to(study.absolute())
    except ValueError:
        return False
    if ".." in name.parts or folder.is_symlink() or not _has_record(folder):
        return False
    return bool(_own(study, [str(name)], set()))


def _numbers_in(folder: Path, known: set[str] | None) -> list[str]:
    known = set() if known is None else known
    names = [entry.name for entry in _listed(folder) if entry.name not in known]
    numbers = [name for name in names if name.isdecimal()]
    return _own(folder, [name for name in numbers if _has_record(folder / name)], known)


def _own(folder: Path, names: Collection[str], known: set[str]) -> list[str]:
    """Return those of the names below a folder that belong to its run."""
    if not names:
        return []
    parent = _tags(folder) or {}
    found = []
    for name in names:
        tags = _tags(folder / name)
        if tags is None:
            continue
        if _is_of_study(tags, parent) and _is_in_place(tags, PurePath(name)):
            found.append(name)
        else:
            known.add(name)
    return sorted(found, key=lambda name: (len(name), name))


def _is_of_study(tags: Mapping[str, str], parent: Mapping[str, str]) -> bool:
    named = [name for name in STUDY_TAGS if parent.get(name)]
    shared = [name for name in named if tags.get(name)]
    return tags[shared[0]] == parent[shared[0]] if shared else not (named and tags)


def _is_in_place(tags: Mapping[str, str], name: PurePath) -> bool:
    """Return whether a run was where its record is now, however the folders above are called."""
    return PurePath(tags.get(FOLDER_TAG, name)).parts[-len(name.parts) :] == name.parts


def _tags(folder: Path) -> Mapping[str, str] | None:
    """Return the tags of the record in a folder, None if it has no entry yet.

    A damaged record has none: whoever reads it says what is wrong with it.
    """
    try:
        tags: Mapping[str, str] = record.ends(folder)[0].fields.get("tags", {})
    except RecordError:
        return {} if record.has_begun(folder) or not _is_file(folder) else None
    return tags


def _is_file(folder: Path) -> bool:
    return (folder / layout.RECORD).is_file()


def _has_record(folder: Path) -> bool:
    return (folder / layout.RECORD).exists()


def _records_in(folder: Path, prefix: str, known: Collection[str]) -> list[str]:
    """Return the names of the folders with a record, not looking into those, or other studies."""
    found = []
    for entry in _listed(folder):
        name = prefix + entry.name
        if name in known or entry.name.startswith(".") or not entry.is_dir():
            continue
        if entry.name.endswith(layout.SET_ASIDE):
            continue
        path = folder / entry.name
        if _has_record(path):
            found.append(name)
        elif not entry.is_symlink() and not (path / layout.SWEEP_CONFIG).exists():
            found += _records_in(path, f"{name}/", known)
    return found


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, PermissionError):
        return []
