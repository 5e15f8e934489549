"""What the user says of a study or a run once it is there: name, tags, note, whether to hide it.

It is kept in one small file of the folder, so that it travels with the folder wherever that goes,
and beside the record, which nothing changes. MLflow gets it as tags.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import layout
from hrm_sweep.system import files
from hrm_sweep.system.locks import locked

NAME, NOTE, ARCHIVED, STUDY = (
    f"hrm_sweep.{word}" for word in ("name", "note", "archived", "study")
)
"""Tags in MLflow of what is no tag of the user's own; STUDY is the new name of a trial's study."""


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What the user says of one study or run."""

    name: str = ""
    """The one that `rename` gave it; empty: that of its record."""
    former: str = ""
    """Its name before, while a renaming has not come to its end."""
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    is_archived: bool = False

    @classmethod
    def load(cls, folder: Path) -> Annotations:
        """Return the annotations in a folder; none where there are none, or they are damaged."""
        try:
            return _read(folder)
        except RecordError:
            return cls()

    def facts(self) -> list[tuple[str, str]]:
        """Return the tags and the note, each in one line with its name."""
        pairs = [("tags", self.described()), ("note", " ".join(self.note.split()))]
        return [(name, text) for name, text in pairs if text]

    def described(self) -> str:
        """Return the tags in one line: `stage=paper owner=ann`."""
        return " ".join(f"{name}={value}" for name, value in self.tags.items())


def annotate(folder: Path, **changes: Any) -> Annotations:
    """Change the annotations in a folder, whole or not at all, and return them; secrets are masked.

    Args:
        changes: attributes of `Annotations`, but for `tags`: those that change, None to remove one.

    Raises:
        RecordError: the file was damaged, so its content would be lost.
        InputError: the folder cannot be written.
    """
    files.check_writable(folder)
    with locked(folder / layout.ANNOTATIONS_LOCK):
        before = _read(folder)
        tags = {**before.tags, **changes.pop("tags", {})}
        kept = {name: value for name, value in tags.items() if value is not None}
        files.write_json(folder / layout.ANNOTATIONS, asdict(replace(before, tags=kept, **changes)))
        return _read(folder)


def study_name(folder: Path) -> str:
    """Return the name that `rename` gave the study to which a trial or repeat belongs, else ""."""
    studies = (path for path in folder.parents if (path / layout.SWEEP_CONFIG).exists())
    return next((Annotations.load(path).name for path in studies), "")


def as_tags(folder: Path) -> dict[str, str]:
    """Return all that MLflow is to have of the annotations of a run, as tags."""
    found = Annotations.load(folder)
    name = found.name if (folder / layout.SWEEP_CONFIG).exists() else study_name(folder)
    own = {NAME: found.name, NOTE: found.note, STUDY: name}
    own |= {ARCHIVED: "true"} if found.is_archived else {}
    return {**found.tags, **{tag: text for tag, text in own.items() if text}}


def _read(folder: Path) -> Annotations:
    path = folder / layout.ANNOTATIONS
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        known = {each.name for each in fields(Annotations)}
        return Annotations(**{name: value for name, value in kept.items() if name in known})
    except FileNotFoundError:
        return Annotations()
    except (OSError, ValueError, AttributeError, TypeError) as error:
        why = f"cannot be read ({' '.join(str(error).split())})"
        raise RecordError(f"{path}: {why}; mend it, or remove it and annotate anew") from None
