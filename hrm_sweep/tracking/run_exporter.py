"""The export of one run: its record on the way into one MLflow run."""

from __future__ import annotations

import contextlib
import glob
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import layout, models, record
from hrm_sweep.runs.annotations import NAME, NOTE, STUDY, as_tags
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.record import Entry, RecordReader
from hrm_sweep.runs.run_folders import FOLDER_TAG, runs_below
from hrm_sweep.tracking.client import Destination, MlflowRun
from hrm_sweep.tracking.errors import Gone, Unreachable
from hrm_sweep.tracking.file_exporter import FileExporter
from hrm_sweep.tracking.limits import METRICS_A_BATCH, refusal
from hrm_sweep.tracking.translate import Translation, annotated, links, note, status

Pictures = Callable[[Path], Iterable[str] | None]
"""Draws what a run left in its folder; returns None while it draws."""

RETRY_REFUSED_SECONDS, RETRY_FAILED_SECONDS = 60.0, 3.0
NAMING = (NAME, NOTE, STUDY)
"""Annotations of which other tags of a run are made, such as its description."""
FAILURES_IN_A_ROW = 3
"""After so many failures in a row, other runs have their turn first."""
UNCONFIRMED_SECONDS, SECONDS_BETWEEN_SEARCHES = 60.0, 20.0
"""How long a server may hold a request whose client has given up, and how often to look for a run
that came of it."""


class RunExporter:
    """Follows the record of one run folder and sends it, batch by batch.

    It is the only writer of the folder's export state, which it saves after each request. A kill
    in between repeats the request with the same times and steps, and MLflow keeps one of each.

    Args:
        parent: of the run that this one is a child of.
        destination: identity of the experiment.
        state_file: name of the export state in the folder.
        is_new: no other process can have sent it, so MLflow need not be searched for it.
        monotonic: the clock of pauses, in seconds.

    Attributes:
        sent: measurements sent by this object.
        reason: why the run was postponed, "" if it was not.
    """

    def __init__(
        self,
        folder: Path,
        parent: RunExporter | None,
        destination: str,
        state_file: str,
        *,
        is_new: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.parent, self._state_file = folder, parent, state_file
        self._is_new, self._now = is_new, monotonic
        self.sent, self.reason = 0, ""
        self._state = ExportState.load(folder, state_file)
        if self._state.destination != destination:
            self._state = ExportState(destination=destination)
        self._is_unread = True
        self._search_at = 0.0
        self._failures = 0
        self._superseded: set[str] = set()
        """Runs of records that were in the folder before."""
        self._keep_models = ""
        """Of a study; empty: to be read."""
        self._is_shared = False
        """It is a study, which sweeps on several machines send, each from its own folder."""
        self._reset()
        self.wake()

    @property
    def run_id(self) -> str:
        """Id of the MLflow run, "" as long as there is none."""
        return self._state.run_id

    @property
    def is_done(self) -> bool:
        """Nothing is left to send, unless another attempt begins."""
        return self._state.finished

    @property
    def is_alive(self) -> bool:
        """The record was read and its last attempt has not ended."""
        return not self._is_unread and not self.is_done and self._translation.end is None

    @property
    def keep_models(self) -> str:
        """Whose models the study keeps that the run belongs to; `all` where it is of none."""
        if self.parent:
            return self.parent.keep_models
        if not self._keep_models:
            self._keep_models = models.kept_by(self.folder)
        return self._keep_models

    @property
    def is_waiting(self) -> bool:
        """There is something to send."""
        if self.run_id and self._said != self._state.annotations:
            return True
        if self.is_done:
            return False
        return self._is_unread or bool(self._pending) or self._translation.end is not None

    @property
    def is_postponed(self) -> bool:
        """A pause after a refusal or failures is not over yet."""
        return self._now() < self._retry_at

    @property
    def is_due(self) -> bool:
        """There is something to send, and no pause."""
        return self.is_waiting and not self.is_postponed

    @property
    def num_measurements(self) -> int:
        """Measurements that wait, as far as the record was read."""
        return sum(entry.event == "metrics" for entry in self._pending)

    @property
    def num_files(self) -> int:
        """Files that wait."""
        ends = [entry for entry in self._pending if entry.event == "finished"]
        end = ends[-1] if ends else self._translation.end
        names = end.fields.get("artifacts", ()) if end else ()
        return len(set(names) - set(self._state.artifacts))

    def wake(self) -> None:
        """Take up a run that was annotated, or whose record has changed since it was finished."""
        self._said = as_tags(self.folder)
        if self.is_done and _size(self.folder) != self._state.size:
            self._state.finished = False
            self._is_unread = True
            self._reset()

    def advance(self, destination: Destination, pictures: Pictures) -> bool:
        """Read what is new and send one batch, or, after the last one, files and the end.

        Returns:
            Whether there was something to send.

        Raises:
            Unreachable, Refused, Gone: see `errors`; nothing is lost, the state stands.
        """
        try:
            self._read()
        except RecordError as error:
            self._finish_damaged(destination, str(error))
            self.postpone(str(error))
            return False
        self.reason = ""
        worked = True
        if self._pending:
            self._send(self._batch(), destination)
        elif self.run_id and self._said != self._state.annotations:
            self._annotate(destination)
        else:
            end = None if self.is_done else self._translation.end
            worked = end is not None and self._finish(end, destination, pictures)
        self._failures = 0
        return worked

    def remove_doubles(self, destination: Destination) -> None:
        """Delete runs that came late of a creation that was not answered."""
        if not (self.run_id and self._state.unconfirmed_create_ms):
            return
        if self._now() < self._search_at:
            return
        age = time.time() - self._state.unconfirmed_create_ms / 1000
        destination.remove_doubles(self._state.record, self.run_id)
        self._search_at = self._now() + SECONDS_BETWEEN_SEARCHES
        if age > UNCONFIRMED_SECONDS:
            self._state.unconfirmed_create_ms = 0
            self._save()

    def follow_models(self, destination: Destination, *, is_study_complete: bool) -> int:
        """Let MLflow have the model files that the folder keeps; return how many have changed."""
        if not self.is_done or not self.run_id:
            return 0
        with contextlib.suppress(RecordError, Gone):
            number = self._files.follow(
                destination.open(self.run_id), is_complete=is_study_complete
            )
            if number:
                self._save()
            return number
        return 0

    def follow_parent(self, destination: Destination) -> None:
        """Name the parent's run in MLflow, if that is another one than before."""
        parent = self.parent.run_id if self.parent else ""
        if not (parent and self.run_id) or parent == self._state.parent:
            return
        run = destination.open(self.run_id)
        run.tags({"mlflow.parentRunId": parent})
        with contextlib.suppress(Gone):
            run.send()
        self._state.parent = parent
        self._save()

    def share(self, destination: Destination) -> bool:
        """Continue in the oldest of the runs that the sweeps of a study have made for it.

        Returns:
            Whether there is one, and this is a study.
        """
        oldest = destination.keep_oldest(self._state.record) if self._is_shared else None
        if oldest is None:
            return False
        if oldest.run_id != self.run_id:
            self._state.run_id, self._state.next, self._state.artifacts = oldest.run_id, 0, []
            self._is_unread = True
            self._reset()
        return True

    def postpone(self, reason: str) -> None:
        """Pause this run, which cannot be sent now; others can."""
        self.reason = reason
        self._retry_at = self._now() + RETRY_REFUSED_SECONDS

    @property
    def has_failed(self) -> bool:
        """The server has failed at this run; the next try may succeed."""
        return self._failures > 0 and self.is_waiting

    def count_failure(self, reason: str) -> None:
        """Count a failure of the server at this run; several in a row may be the run's own."""
        self.reason = reason
        self._failures += 1
        if self._failures % FAILURES_IN_A_ROW == 0:
            self._retry_at = self._now() + RETRY_FAILED_SECONDS

    def give_up(self) -> None:
        """Leave the run in MLflow as it is, for good."""
        self._state.finished, self._state.size = True, _size(self.folder)
        self._state.annotations = self._said
        self._save()
        self._reset()

    def _save(self) -> None:
        self._state.save(self.folder, self._state_file)

    def _reset(self) -> None:
        """Drop the record from memory; it is read from its beginning when it is needed."""
        self._reader = RecordReader(self.folder)
        self._size = 0
        """Bytes of the record when it was read last, a torn tail among them."""
        self._translation = Translation()
        self._pending: deque[Entry] = deque()
        self._retry_at = 0.0

    def _read(self) -> None:
        size = _size(self.folder)
        if not self._is_unread and size == self._size:
            return
        self._size = size
        entries = self._reader.new_entries()
        if self._is_unread and entries:
            self._is_shared = bool(entries[0].fields.get("id"))
            self._check_name(entries[0].fields.get("id") or entries[0].fields["record"])
            self._check_length(entries)
        if self.parent and not self._translation.has_repeats:
            self._translation.has_repeats = bool(runs_below(self.folder))
        for entry in entries:
            if entry.number < self._state.next:
                self._accept(entry)
            else:
                self._pending.append(entry)
        self._is_unread = False

    def _check_name(self, name: str) -> None:
        if self._state.record not in ("", name):  # the folder holds another record than it did
            self._superseded.add(self._state.run_id)
            self._state = ExportState(destination=self._state.destination)
        self._state.record = name

    def _check_length(self, entries: list[Entry]) -> None:
        """Send again what a record has measured since it lost entries that MLflow has."""
        sent, last_ms = entries[: self._state.next], self._state.last_ms
        if sent and last_ms and (len(sent) < self._state.next or sent[-1].time_ms != last_ms):
            self._state.next = sum(entry.time_ms <= last_ms for entry in sent)

    @property
    def _files(self) -> FileExporter:
        return FileExporter(self.folder, self._state)

    def _accept(self, entry: Entry) -> None:
        self._translation.accept(entry)
        if entry.event == "started":
            self._keep_models = ""
        if entry.event == "started" and self._translation.attempts > 1:
            self._translation.resume_from(record.read(self.folder)[: entry.number])

    def _batch(self) -> list[Entry]:
        """Return the next entries of one attempt, as many as fit into one request."""
        batch: list[Entry] = []
        values = 0
        for entry in islice(self._pending, METRICS_A_BATCH):
            values += len(entry.fields.get("values", ()))
            if batch and (entry.event == "started" or values > METRICS_A_BATCH):
                break
            batch.append(entry)
        return batch

    def _send(self, batch: list[Entry], destination: Destination) -> None:
        if batch[0].event == "started" or not self.run_id:
            run = self._start(batch[0], destination)
        else:
            run = destination.open(self.run_id)
        update = self._translation.update(batch)
        self._state.left_out = update.left_out | self._state.left_out
        run.add(update)
        run.send()
        if self._is_shared and batch[-1].event != "finished":
            run.reopen()  # another sweep on the study may have ended
        for entry in batch:
            self._accept(self._pending.popleft())
            self.sent += entry.event == "metrics" and not refusal(entry.fields["step"])
        self._state.next, self._state.last_ms = batch[-1].number + 1, batch[-1].time_ms
        self._save()

    def _start(self, entry: Entry, destination: Destination) -> MlflowRun:
        """Create the run, or open it again for another attempt."""
        update = self._translation.start(entry)
        if self.parent and self.parent.run_id:
            update.tags["mlflow.parentRunId"] = self._state.parent = self.parent.run_id
        if self.run_id:
            run = destination.open(self.run_id)
            run.reopen()
        else:
            run = self._create(entry, update.tags, destination)
            self._state.run_id, self._state.experiment_id = run.run_id, destination.experiment_id
        update.tags |= self._said | self._naming_tags(entry.fields, destination)
        run.add(update)
        self._state.artifacts, self._state.finished = [], False
        self._state.annotations = self._said
        return run

    def _annotate(self, destination: Destination) -> None:
        """Send what the user has said of the run since it was exported."""
        started = [each for each in record.read(self.folder) if each.event == "started"][-1].fields
        before, now = self._state.annotations, self._said
        recorded = started.get("tags", {})
        tags = {name: recorded[name] for name in before if name in recorded} | now
        if any(before.get(name) != now.get(name) for name in NAMING):
            tags |= self._naming_tags(started, destination)
        run = destination.open(self.run_id)
        run.tags(tags)
        run.send()
        run.remove_tags(before.keys() - tags.keys())
        self._state.annotations = now
        self._save()
        if self.is_done:
            self._reset()

    def _naming_tags(self, started: Mapping[str, Any], destination: Destination) -> dict[str, str]:
        """Return the tags that say what the run is called, what it is and where."""
        fields = annotated(started, self._said)
        view = destination.keep_view(fields, self.run_id) if "judged" in fields else ""
        folder = _typed(self.folder)
        tags = {"mlflow.note.content": note(fields, folder, links(fields, view=view))}
        if NAME in self._said:
            tags["mlflow.runName"] = self._said[NAME]
        if NAME in self._said or STUDY in self._said:
            tags[FOLDER_TAG] = str(folder)
        return tags

    def _create(self, entry: Entry, tags: dict[str, str], destination: Destination) -> MlflowRun:
        name = self._said.get(NAME) or entry.fields.get("name", self.folder.name)
        known = self._state.record
        try:
            if self._may_be_there and (found := destination.find(known)):
                run = found
            else:
                run = destination.create(known, name=name, start_ms=entry.time_ms, tags=tags)
            superseded = self._superseded | {*_set_aside(self.folder)}
            destination.supersede(superseded, run.run_id, tags)
            return (destination.keep_oldest(known) or run) if self._is_shared else run
        except Unreachable:
            self._state.unconfirmed_create_ms = time.time_ns() // 1_000_000
            self._save()
            raise

    @property
    def _may_be_there(self) -> bool:
        """Whether MLflow may have a run of the record that the export state does not name."""
        return not self._is_new or self._state.unconfirmed_create_ms > 0

    def _finish(self, end: Entry, destination: Destination, pictures: Pictures) -> bool:
        """Send files and, last, the status: a run that has ended in MLflow is whole there."""
        drawn = pictures(self.folder)
        if drawn is None:
            return False
        before = self.run_id
        if self.share(destination) and self.run_id != before:
            return True  # all is sent again, to that run
        run = destination.open(self.run_id)
        are_models_held = self.keep_models != models.KEEP_ALL
        try:
            self._files.send(run, end, drawn, are_models_held=are_models_held)
        finally:
            self._save()
        if self._may_be_there:
            destination.remove_doubles(self._state.record, self.run_id)
        run.finish(status(end.fields["outcome"]), end.time_ms)
        self._state.finished, self._state.size = True, self._size
        self._save()
        self._reset()
        return True

    def _finish_damaged(self, destination: Destination, reason: str) -> None:
        """End a run in MLflow whose record cannot be believed."""
        if self.run_id:
            run = destination.open(self.run_id)
            run.tags({"hrm_sweep.outcome": "failed", "hrm_sweep.reason": reason})
            run.finish("FAILED", int((self.folder / layout.RECORD).stat().st_mtime * 1000))


def _set_aside(folder: Path) -> Iterator[str]:
    """Yield the ids of the runs of records that were set aside for the one in a folder."""
    for path in folder.parent.glob(f"{glob.escape(folder.name)}*{layout.SET_ASIDE}"):
        yield ExportState.load(path).run_id


def _typed(folder: Path) -> Path:
    """Return a folder as the user would type it here."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _size(folder: Path) -> int:
    try:
        return (folder / layout.RECORD).stat().st_size
    except FileNotFoundError:
        return 0
