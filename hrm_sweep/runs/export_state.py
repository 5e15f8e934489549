"""How far each run folder has been exported to MLflow, as its `mlflow.json` keeps it.

A copy in another MLflow has a file of its own beside it.

The export state saves work and is not the truth: without it everything is sent again, which adds
nothing. It names no server, so that it holds no password, but the identity of an experiment.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from hrm_sweep.errors import Interrupted, RecordError, TrackingError
from hrm_sweep.runs import layout, record
from hrm_sweep.runs.annotations import as_tags
from hrm_sweep.runs.run_folders import run_folders
from hrm_sweep.system import files
from hrm_sweep.system.redact import redacted

MOST_PHRASES = 3
"""Most measurements that are named of those that MLflow cannot have."""
SECONDS_TO_APPEAR, SECONDS_BETWEEN_LOOKS = 60.0, 0.05
"""How long a task waits for its run in MLflow, and how often it looks."""


@dataclass(kw_only=True, slots=True)
class ExportState:
    """What of one record is in MLflow."""

    run_id: str = ""
    parent: str = ""
    """Id of the run that MLflow has as its parent."""
    experiment_id: str = ""
    destination: str = ""
    """Identity of the experiment; see `hrm_sweep.tracking.client.Destination`."""
    record: str = ""
    """Name of the record that was sent from this folder."""
    next: int = 0
    """Number of the next entry to send."""
    last_ms: int = 0
    """Time of the entry before that one, in ms since 1970; 0 in files of older versions."""
    size: int = 0
    """Bytes of the record when the run was finished."""
    artifacts: list[str] = field(default_factory=list)
    """Files that are there whole, of the last attempt."""
    held: list[str] = field(default_factory=list)
    """Model files that are sent when the study is complete, if it keeps them until then."""
    unconfirmed_create_ms: int = 0
    """When a creation of the run was not answered, in ms since 1970; a second run may appear until
    some time later. `doubt_ms` in the file."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why MLflow can never have some measurements, the first of each metric."""
    annotations: dict[str, str] = field(default_factory=dict)
    """Tags of the user's annotations that MLflow has; see `hrm_sweep.runs.annotations`."""
    finished: bool = False
    """Nothing is left: MLflow has the run's end, or the run was deleted there."""

    @classmethod
    def load(cls, folder: Path, name: str = layout.EXPORT_STATE) -> ExportState:
        """Return the export state of a run folder; a new one where none can be read."""
        try:
            kept = json.loads((folder / name).read_text(encoding="utf-8"))
            found = {known.name: kept.get(_key(known.name)) for known in fields(cls)}
            return cls(**{key: value for key, value in found.items() if value is not None})
        except (OSError, ValueError, AttributeError, TypeError):
            return cls()

    def is_done_with(self, folder: Path) -> bool:
        """Return whether the record has not grown since its end was sent."""
        return self.finished and self.size == (folder / layout.RECORD).stat().st_size

    def has_annotations_of(self, folder: Path) -> bool:
        """Return whether MLflow has what the user says of the run, as far as it has the run."""
        return not self.run_id or self.annotations == as_tags(folder)

    def save(self, folder: Path, name: str = layout.EXPORT_STATE) -> None:
        """Write the state; after a power cut the file may be the old one."""
        content = {_key(known): value for known, value in asdict(self).items()}
        files.write_note(folder / name, json.dumps(content, indent=2) + "\n")


def _key(field_name: str) -> str:
    """Return the name of a field in the file, whose format is older than this class."""
    return {"unconfirmed_create_ms": "doubt_ms"}.get(field_name, field_name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """What is in run folders and not in MLflow yet."""

    runs: int = 0
    measurements: int = 0
    """Steps, each with all its values."""
    files: int = 0
    sent: int = 0
    """Measurements sent by the process that reports this backlog."""
    reason: str = ""
    """Why something waits, in one line without secrets."""
    left_out: str = ""
    """What MLflow can never have, in one line; it is in the records."""

    def __str__(self) -> str:
        if not self.runs:
            return "everything is in MLflow" + (self.left_out and f" but {self.left_out}")
        counts = [_count(self.measurements, "measurement"), _count(self.files, "file")]
        what = " and ".join(count for count in counts if not count.startswith("0 "))
        which = f"{what} of {_count(self.runs, 'run')}" if what else _count(self.runs, "run")
        return f"{which} not in MLflow yet" + (f" ({self.reason})" if self.reason else "")


def name_for_copy(uri: str) -> str:
    """Return the name of the export state for a copy at another MLflow address."""
    digest = hashlib.sha256(redacted(uri).encode()).hexdigest()
    return f"mlflow_copy_{digest[:8]}.json"


def waiting(root: Path, state_file: str = layout.EXPORT_STATE, *, reason: str = "") -> Backlog:
    """Return what of a study is not in MLflow, counted from its folders alone."""
    runs = measurements = kept = 0
    left_out: list[str] = []
    for folder in run_folders(root):
        state = ExportState.load(folder, state_file)
        left_out += [f"{name} of {folder.name} ({why})" for name, why in state.left_out.items()]
        is_annotated = state.has_annotations_of(folder)
        runs += not is_annotated
        if state.is_done_with(folder):
            continue
        try:
            entries = record.read(folder)
        except RecordError as error:
            reason = reason or str(error)
            continue
        new = entries[state.next :]
        last = entries[-1] if entries else None
        if last is None or not (new or (last.event == "finished" and not state.finished)):
            continue
        runs += is_annotated
        measurements += sum(entry.event == "metrics" for entry in new)
        if last.event == "finished":
            kept += len(set(last.fields.get("artifacts", ())) - set(state.artifacts))
    counts = {"runs": runs, "measurements": measurements, "files": kept}
    return Backlog(**counts, reason=reason, left_out=_listed(left_out))


def run_id_of(folder: Path, *, entry: int, should_stop: Callable[[], bool]) -> str:
    """Return the id of the MLflow run of a run folder, once MLflow has an entry of its record.

    Raises:
        TrackingError: it does not have it within `SECONDS_TO_APPEAR`.
        Interrupted: `should_stop` returned true in the meantime.
    """
    end = time.monotonic() + SECONDS_TO_APPEAR
    while (state := ExportState.load(folder)).next <= entry:
        if should_stop():
            raise Interrupted("stopped while it waited for its run in MLflow")
        if time.monotonic() > end:
            raise TrackingError(
                f"{folder}: its run is not in MLflow after {SECONDS_TO_APPEAR:g} s; "
                "is MLflow reachable? tracking=off trains without it"
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return state.run_id


def write_ends(root: Path) -> bool:
    """Write the end of each run below `root` whose process died before it could.

    Returns:
        Whether a living process holds some record.
    """
    alive = False
    for folder in run_folders(root):
        if ExportState.load(folder).is_done_with(folder):
            continue
        with contextlib.suppress(RecordError):  # a damaged one is named when it is sent
            record.write_end(folder)
        alive |= record.is_held(folder)
    return alive


def _listed(phrases: list[str]) -> str:
    more = len(phrases) - MOST_PHRASES
    return ", ".join(phrases[:MOST_PHRASES]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
