"""One record on its way into one MLflow run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import record
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.record import Entry, RecordReader
from hrm_sweep.tracking.client import Destination
from hrm_sweep.tracking.limits import METRICS_A_BATCH
from hrm_sweep.tracking.translate import RunTranslator, status

Pictures = Callable[[Path], Iterable[str] | None]
"""Draws what a run left in its folder; None as long as it is at it."""

RETRY_REFUSED_SECONDS, RETRY_FAILED_SECONDS = 60.0, 10.0
FAILURES_IN_A_ROW = 3
"""After so many, the other runs have their turn first."""
DOUBT_SECONDS, LOOK_FOR_DOUBLES_SECONDS = 60.0, 20.0
"""How long a server may hold a request that its client has given up, and how often to look."""


class RunExporter:
    """Follows the record of one folder and sends it, batch by batch.

    What was sent stands in the folder's cursor. A kill between the sending and the cursor means
    that a batch is sent again, with the same times and steps: MLflow keeps one of each.

    Args:
        is_new: nobody else can have sent it, so that MLflow need not be asked whether it is there.
    """

    def __init__(
        self,
        folder: Path,
        parent: RunExporter | None,
        destination: str,
        cursors: str,
        *,
        is_new: bool,
    ) -> None:
        self.folder, self.parent, self._cursors = folder, parent, cursors
        self._is_new = is_new
        self.sent = 0
        """Measurements sent."""
        self.reason = ""
        """Why it was postponed."""
        self._cursor = ExportState.load(folder, cursors)
        if self._cursor.destination != destination:
            self._cursor = ExportState(destination=destination)
        self._is_unread = True
        self._look_for_doubles_at = 0.0
        self._failures = 0
        self._forget()
        self.look_again()

    @property
    def run_id(self) -> str:
        return self._cursor.run_id

    @property
    def is_done(self) -> bool:
        """Nothing is left to send, and nothing will come unless another attempt begins."""
        return self._cursor.finished

    @property
    def is_alive(self) -> bool:
        """Its record was read and has an attempt that goes on."""
        return not self._is_unread and not self.is_done and self._telling.finished is None

    @property
    def is_waiting(self) -> bool:
        """There is something to send."""
        if self.is_done:
            return False
        return self._is_unread or bool(self._pending) or self._telling.finished is not None

    @property
    def is_postponed(self) -> bool:
        return time.monotonic() < self._retry_at

    @property
    def is_due(self) -> bool:
        return self.is_waiting and not self.is_postponed

    @property
    def num_measurements(self) -> int:
        """Measurements that wait, as far as the record was read."""
        return sum(entry.event == "metrics" for entry in self._pending)

    @property
    def num_files(self) -> int:
        """Files that wait."""
        ends = [entry for entry in self._pending if entry.event == "finished"]
        end = ends[-1] if ends else self._telling.finished
        names = end.fields.get("artifacts", ()) if end else ()
        return len(set(names) - set(self._cursor.artifacts))

    def look_again(self) -> None:
        """Wakes a run that was done, if its record has changed since: another attempt has begun."""
        if self.is_done and _size(self.folder) != self._cursor.size:
            self._cursor.finished = False
            self._is_unread = True
            self._forget()

    def advance(self, destination: Destination, pictures: Pictures) -> bool:
        """Reads what is new and sends one batch, or, after the last one, files and the end.

        Returns:
            False if there was nothing to send.

        Raises:
            Unreachable, Refused, Gone: see `mlflow_errors`; nothing is lost, the cursor stands.
        """
        try:
            self._read()
        except RecordError as error:
            self._conclude_damaged(destination, str(error))
            self.postpone(str(error))
            return True
        self.reason = ""
        worked = True
        if self._pending:
            self._send(self._batch(), destination)
        else:
            end = None if self.is_done else self._telling.finished
            worked = end is not None and self._finish(end, destination, pictures)
        self._failures = 0
        return worked

    def remove_doubles(self, destination: Destination) -> None:
        """If a creation was not answered, deletes what may have come of it later."""
        if not (self.run_id and self._cursor.doubt_ms):
            return
        if time.monotonic() < self._look_for_doubles_at:
            return
        age = time.time() - self._cursor.doubt_ms / 1000
        destination.remove_doubles(self._cursor.record, self.run_id)
        self._look_for_doubles_at = time.monotonic() + LOOK_FOR_DOUBLES_SECONDS
        if age > DOUBT_SECONDS:
            self._cursor.doubt_ms = 0
            self._save()

    def postpone(self, reason: str) -> None:
        """This run cannot be sent now; the others can."""
        self.reason = reason
        self._retry_at = time.monotonic() + RETRY_REFUSED_SECONDS

    def count_failure(self) -> None:
        """The server failed at this run. If that is so each time, it may be the run's own fault."""
        self._failures += 1
        if self._failures % FAILURES_IN_A_ROW == 0:
            self._retry_at = time.monotonic() + RETRY_FAILED_SECONDS

    def give_up(self) -> None:
        """Leaves the run as it is in MLflow, for ever."""
        self._cursor.finished, self._cursor.size = True, _size(self.folder)
        self._save()
        self._forget()

    def _save(self) -> None:
        self._cursor.save(self.folder, self._cursors)

    def _forget(self) -> None:
        """Keeps nothing of the record in memory; it is read from its beginning when need be."""
        self._reader = RecordReader(self.folder)
        self._telling = RunTranslator(self.folder, self._save)
        self._pending: deque[Entry] = deque()
        self._retry_at = 0.0

    def _read(self) -> None:
        if not self._is_unread and _size(self.folder) == self._reader.offset:
            return
        entries = self._reader.new_entries()
        if self._is_unread and entries:
            self._check_name(entries[0].fields["record"])
        for entry in entries:
            if entry.number < self._cursor.next:
                self._telling.note(entry)
            else:
                self._pending.append(entry)
        self._is_unread = False

    def _check_name(self, name: str) -> None:
        if self._cursor.record not in ("", name):  # the folder holds another record than it did
            self._cursor = ExportState(destination=self._cursor.destination)
        self._cursor.record = name

    def _batch(self) -> list[Entry]:
        """The next entries of one attempt, as many as fit into one request."""
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
            run = self._telling.start(
                batch[0],
                self._cursor,
                destination,
                parent_id=self.parent.run_id if self.parent else "",
                dashboard=self._dashboard(),
                may_be_there=self._may_be_unknown,
            )
        else:
            run = destination.open(self.run_id)
        self._telling.tell(run, batch)
        run.send()
        for entry in batch:
            self._telling.note(self._pending.popleft())
            self.sent += entry.event == "metrics"
        self._cursor.next = batch[-1].number + 1
        self._save()

    @property
    def _may_be_unknown(self) -> bool:
        """Whether MLflow may have a run that shows the record, and the cursor does not say so."""
        return not self._is_new or self._cursor.doubt_ms > 0

    def _dashboard(self) -> str:
        """Address of the study in Optuna's dashboard, as the study's own record has it."""
        top = self
        while top.parent:
            top = top.parent
        return record.read(top.folder)[0].fields.get("dashboard", "")

    def _finish(self, end: Entry, destination: Destination, pictures: Pictures) -> bool:
        """Sends the files and, last, the status: a run that has ended in MLflow is whole there."""
        drawn = pictures(self.folder)
        if drawn is None:
            return False
        run = destination.open(self.run_id)
        self._telling.send_files(run, self._cursor, drawn)
        if self._may_be_unknown:
            destination.remove_doubles(self._cursor.record, self.run_id)
        run.finish(status(end.fields["outcome"]), end.time_ms)
        self._cursor.finished, self._cursor.size = True, self._reader.offset
        self._save()
        self._forget()
        return True

    def _conclude_damaged(self, destination: Destination, reason: str) -> None:
        """What a damaged record still says cannot be believed; MLflow is not left in the dark."""
        if self.run_id:
            run = destination.open(self.run_id)
            run.tags({"hrm_sweep.outcome": "failed", "hrm_sweep.reason": reason})
            run.finish("FAILED", int((self.folder / record.FILE_NAME).stat().st_mtime * 1000))


def _size(folder: Path) -> int:
    try:
        return (folder / record.FILE_NAME).stat().st_size
    except FileNotFoundError:
        return 0
