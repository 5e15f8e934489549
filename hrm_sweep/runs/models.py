"""Model files of runs: which files they are, and what is known of those that were removed.

A model file holds weights or a checkpoint. No number of a run needs it once the run has ended:
values, curves and the digest of the weights are in the record.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import layout, record
from hrm_sweep.runs.run import Run
from hrm_sweep.system import files

KEEP_ALL, KEEP_BEST, KEEP_NONE = CHOICES = ("all", "best", "none")
"""What a study keeps of its model files: `hydra.sweeper.keep_models`."""
OURS = (
    *(layout.RECORD, layout.RESULT, layout.CONFIG, layout.OVERRIDES, layout.ENVIRONMENT),
    *(layout.LOG, layout.EXPORT_STATE, layout.REMOVED_MODELS),
    *(layout.ANNOTATIONS, layout.ANNOTATIONS_LOCK),
)
"""Never a model, whatever a pattern says."""


@dataclass(frozen=True, kw_only=True)
class RemovedModels:
    """Model files of a run that were removed, as its folder keeps them."""

    by: str
    """What removed them, in the user's words: `clean`."""
    time_ms: int
    """When, in ms since 1970."""
    files: dict[str, int]
    """Size in bytes by name."""

    @classmethod
    def load(cls, folder: Path) -> RemovedModels | None:
        """Return what was removed from a run folder; None if nothing was, or it cannot be read."""
        try:
            kept = json.loads((folder / layout.REMOVED_MODELS).read_text(encoding="utf-8"))
            return cls(**kept)
        except (OSError, ValueError, TypeError):
            return None

    def save(self, folder: Path) -> None:
        """Write it into a run folder."""
        files.write_json(folder / layout.REMOVED_MODELS, asdict(self))

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.time_ms / 1000))
        return f"removed by {self.by} on {when}"


def kept_by(folder: Path) -> str:
    """Return whose models a study keeps, as it was last started; `all` for what is no study."""
    with suppress(RecordError):
        for entry in reversed(record.read(folder)):
            if entry.event == "started":
                return str(entry.fields.get("keep_models", KEEP_ALL))
    return KEEP_ALL


def model_files(run: Run) -> list[str]:
    """Return the names of a run's model files, without those of its repeats."""
    return sorted(matching(_names(run.folder), run.app.models))


def matching(names: Iterable[str], patterns: Collection[str]) -> list[str]:
    """Return the names that one of the patterns describes: whole, or their last part."""
    return [
        name
        for name in names
        if name not in OURS
        and any(fnmatchcase(text, each) for each in patterns for text in (name, Path(name).name))
    ]


def size_of(folder: Path, names: Iterable[str]) -> int:
    """Return the bytes of files in a folder; those that are gone have none."""
    return sum(path.lstat().st_size for path in map(folder.joinpath, names) if path.exists())


def remove(folder: Path, names: Collection[str], *, by: str) -> None:
    """Remove model files of a run, and note that: a kill in between removes nothing unnoticed.

    Args:
        by: see `RemovedModels`.
    """
    if not names:
        return
    before = RemovedModels.load(folder)
    sizes = {name: (folder / name).lstat().st_size for name in names}
    known = before.files if before else {}
    now_ms = time.time_ns() // 1_000_000
    removed = RemovedModels(by=by, time_ms=now_ms, files=known | sizes)
    with suppress(OSError):  # a full disk, which is why they are removed
        removed.save(folder)
    for name in names:
        (folder / name).unlink(missing_ok=True)
    if RemovedModels.load(folder) != removed:
        removed.save(folder)


def removed_names(folder: Path) -> set[str]:
    """Return the names of the files that were removed and not written again."""
    removed = RemovedModels.load(folder)
    return {name for name in removed.files if not (folder / name).exists()} if removed else set()


def describe_removed(run: Run) -> str:
    """Return what removed a run's models and when, `removed by clean on …`; "" if nothing did.

    Of a trial with repeats the last removal counts.
    """
    folders = [each.trained.folder for each in (run, *run.repeats)]
    removed = [RemovedModels.load(folder) for folder in folders if removed_names(folder)]
    newest = max(filter(None, removed), key=lambda each: each.time_ms, default=None)
    return str(newest) if newest else ""


def why_missing(path: Path) -> str:
    """Return what removed a model file and when; "" if nothing did."""
    removed = RemovedModels.load(path.parent)
    return str(removed) if removed and path.name in removed_names(path.parent) else ""


def _names(folder: Path) -> Iterator[str]:
    """Yield the names of the files of a run, not looking into other runs below it."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if not (here / name / layout.RECORD).exists()]
        for name in names:
            yield (here / name).relative_to(folder).as_posix()
