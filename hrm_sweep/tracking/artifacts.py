"""The files of a run that go to MLflow, and those that may not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from hrm_sweep.runs.logs import masked_copy
from hrm_sweep.runs.record import Entry
from hrm_sweep.system import files
from hrm_sweep.tracking.limits import clean

TRACEBACK = "traceback.txt"
MISSING = "is missing"


def names_of(folder: Path, end: Entry, drawn: Iterable[str]) -> list[str]:
    """Return the files that a run keeps: those its end names, its pictures, its traceback.

    The traceback is written into the folder first.
    """
    names = [*end.fields.get("artifacts", ()), *drawn]
    if end.fields.get("traceback"):
        files.write_text(folder / TRACEBACK, clean(end.fields["traceback"]))
        names.append(TRACEBACK)
    return list(dict.fromkeys(names))


def without_secrets(path: Path) -> AbstractContextManager[Path]:
    """Return a context with the file to send: of a log, a copy in which secrets are masked.

    All other files that are ours were written without.
    """
    return masked_copy(path) if path.suffix == ".log" else nullcontext(path)


def refused(folder: Path, names: Iterable[str], end: Entry) -> Iterator[str]:
    """Yield a phrase for each file that cannot be sent.

    A file that a run did not come to write is no news, unless the run is complete.
    """
    for name in names:
        reason = refusal(folder, name)
        if reason and (reason != MISSING or end.fields["outcome"] == "complete"):
            yield f"{name} {reason}"


def refusal(folder: Path, name: str) -> str:
    """Return why a file may not be sent, "" if it may."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return "points out of the run's folder"
    if not re.fullmatch(r"[\w.\-+=, /]+", name):
        return "has characters that do not survive the way"
    if not path.is_file():
        return MISSING
    if not path.resolve().is_relative_to(folder.resolve()):
        return "is a link out of the run's folder"
    return ""
