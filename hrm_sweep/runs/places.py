"""Where a study's folder is, and whether that is where the study was last started.

A place is a machine and an absolute folder. The record of a study keeps the place of each of its
starts, so a folder that was moved, copied or received from another machine is known as such.
"""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hrm_sweep.runs import layout
from hrm_sweep.runs.study import Study, id_of


@dataclass(frozen=True)
class Place:
    """A folder on a machine."""

    host: str
    folder: Path
    """Absolute."""
    storage: str = field(default="", compare=False)
    """Optuna's, without a password; a path in it is absolute."""
    tracking: str = field(default="", compare=False)
    """MLflow's likewise; empty if the study is not tracked."""

    @classmethod
    def here(cls, folder: Path, *, storage: str = "", tracking: str = "") -> Place:
        """Return the place of a folder of this machine."""
        return cls(socket.gethostname(), folder.resolve(), storage, tracking)

    @classmethod
    def of_record(cls, fields: dict[str, Any]) -> Place:
        """Return the place that `to_record` has written."""
        return cls(**fields | {"folder": Path(fields["folder"])})

    def to_record(self) -> dict[str, str]:
        """Return the place as JSON values."""
        return asdict(self) | {"folder": str(self.folder)}

    def has(self, study_id: str) -> bool:
        """Return whether the study of that id is seen there from this machine."""
        is_seen = self.is_local and (self.folder / layout.RECORD).exists()
        return is_seen and id_of(self.folder) == study_id

    @property
    def is_local(self) -> bool:
        """Whether it is a place of this machine."""
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        return str(self.folder) if self.is_local else f"{self.host}:{self.folder}"


class Whereabouts(Enum):
    """What a study's folder is, by the place of its last start."""

    HOME = "the study was last started in this folder"
    MOVED = "it was last started in a folder of this machine that has it no more"
    COPY = "it was last started in another folder of this machine, which still has it"
    RECEIVED = "it was last started on another machine"
    UNKNOWN = "an older version made it, which did not keep the place"


def whereabouts(study: Study) -> Whereabouts:
    """Return what the folder of a study is."""
    if study.place is None:
        return Whereabouts.UNKNOWN
    here, last = Place.here(study.folder), Place.of_record(study.place)
    if last == here:
        return Whereabouts.HOME
    if last.host != here.host:
        return Whereabouts.RECEIVED
    return Whereabouts.COPY if last.has(study.id) else Whereabouts.MOVED
