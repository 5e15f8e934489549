"""From records to MLflow: a run's folder, or a study's folder with all the runs below it.

Nothing here trains and nothing that trains waits for this: the records are complete without it.
"""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from hrm_sweep.errors import TrackingError
from hrm_sweep.runs import export_state, record
from hrm_sweep.runs.export_state import Backlog, runs_below, waiting
from hrm_sweep.system.redact import redacted
from hrm_sweep.tracking import client
from hrm_sweep.tracking.errors import Gone, Refused, Unreachable, plain
from hrm_sweep.tracking.run_exporter import Pictures, RunExporter
from hrm_sweep.tracking.store import resolve_uri

TURN_SECONDS = 0.5
"""How long a step works on runs that have ended before it looks at the living ones again."""
MAX_DELAY_SECONDS = 8.0
MAX_TIMEOUT_SECONDS = 40
LOOKS_A_STEP = 200
"""Ended runs of which a step looks whether another attempt has begun; it takes them in turn."""


def no_pictures(_: Path) -> Iterable[str]:
    return ()


class Exporter:
    """Sends the records at and below `root` to one experiment, as they grow, exactly once.

    Args:
        root: a study's folder (its record becomes the parent run, the runs below it the
            children), or the folder of a single run.
        tracking_uri: see `resolve_uri`.
        pictures: is called with the folder of each run that has ended, before its files are sent;
            returns the names of what was drawn there, or None as long as it draws.
        cursors: name of the file in each run's folder that says how far it was sent.

    Raises:
        TrackingError: MLflow cannot keep runs at the address.
    """

    def __init__(
        self,
        root: Path,
        *,
        tracking_uri: str | None,
        experiment: str,
        pictures: Pictures = no_pictures,
        cursors: str = export_state.FILE_NAME,
    ) -> None:
        self._root, self._experiment, self._pictures = root, experiment, pictures
        self._cursors = cursors
        self._uri = resolve_uri(tracking_uri)
        self._destination: client.Destination | None = None
        self._lock: TextIO | None = None
        self._runs: dict[Path, RunExporter] = {}
        self._children: dict[Path, set[str]] = {}
        self._has_looked = False
        """What comes later was not there when this process took the lock: nobody has sent it."""
        self._looked_up_to = 0
        self._delay, self._retry_at, self._timeout = 0.0, 0.0, client.TIMEOUT_SECONDS
        self._progress_at_failure = -1
        self._unconnected = Backlog()
        self.reason = ""
        """Why the last attempt to send failed, "" if it did not."""
        self.progress = 0
        """Grows with all that is done."""

    @property
    def sent(self) -> int:
        """Measurements sent."""
        return sum(run.sent for run in self._runs.values())

    @property
    def has_work(self) -> bool:
        """Something waits that was not refused."""
        if self._destination is None:
            return self._unconnected.runs > 0
        return any(run.is_due for run in self._runs.values())

    def step(self) -> Backlog:
        """Sends what is new, living runs first; returns what is left.

        That the server fails is no error: what it did not take waits for a later step, and the
        pauses between attempts grow to `MAX_DELAY_SECONDS`.
        """
        if time.monotonic() >= self._retry_at:
            try:
                self._send()
            except Gone:
                self._start_over()
            except (TrackingError, OSError) as error:
                self._back_off(error)
        return self.backlog()

    def backlog(self) -> Backlog:
        """What is left. Measurements in records that were not opened yet are not counted."""
        if self._destination is None:
            return self._unconnected
        left = [run for run in self._runs.values() if run.is_waiting]
        return Backlog(
            runs=len(left),
            measurements=sum(run.num_measurements for run in left),
            files=sum(run.num_files for run in left),
            sent=self.sent,
            reason=self.reason or next((run.reason for run in left if run.reason), ""),
        )

    def close(self) -> None:
        """Lets another process send these runs."""
        if self._lock:
            self._lock.close()

    def _send(self) -> None:
        if self._destination and self._destination.is_thrown_away:
            self._start_over()
        if self._destination is None:
            if not self._locked():
                return
            self._destination = client.connect(self._uri, self._experiment)
            self.progress += 1
        self._add(self._root, None)
        self._add_children(self._root, self._runs.get(self._root))
        for run in [run for run in self._runs.values() if not run.is_done]:
            self._add_children(run.folder, run)
        self._has_looked = True
        self._take_turns(list(self._runs.values()), self._destination)
        self.reason, self._progress_at_failure = "", -1
        self._timeout = client.TIMEOUT_SECONDS
        client.be_patient(self._timeout)

    def _take_turns(self, runs: list[RunExporter], destination: client.Destination) -> None:
        for run in runs:
            if run.is_alive and not run.is_postponed:
                self._advance(run, destination)
        end = time.monotonic() + TURN_SECONDS
        for run in reversed(runs):  # the newest first: of those not read yet, they may be alive
            while run.is_due and not run.is_alive and time.monotonic() < end:
                if not self._advance(run, destination):
                    break
        for run in runs:
            run.remove_doubles(destination)
        for run in runs[self._looked_up_to : self._looked_up_to + LOOKS_A_STEP]:
            run.look_again()
        self._looked_up_to = (self._looked_up_to + LOOKS_A_STEP) * (
            self._looked_up_to + LOOKS_A_STEP < len(runs)
        )

    def _advance(self, run: RunExporter, destination: client.Destination) -> bool:
        """One batch, or the end, of one run. False if nothing could be done."""
        parent = run.parent
        if parent and not parent.run_id and not parent.is_done:
            return parent.is_due and self._advance(parent, destination)
        try:
            worked = run.advance(destination, self._pictures)
        except Gone:
            if not destination.is_still_there():
                raise
            run.give_up()  # a person deleted this run, and does not want it back
            worked = True
        except Refused as error:
            run.postpone(f"run {run.folder.name}: {error}")
            worked = False
        except Unreachable:
            run.count_failure()
            raise
        self.progress += worked
        return worked

    def _locked(self) -> bool:
        """Two projections of one folder at once would create each run twice."""
        if self._lock is None and self._root.is_dir():
            file = (self._root / ".mlflow.lock").open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise Unreachable("another process is sending these runs") from None
            self._lock = file
        return self._lock is not None

    def _add(self, folder: Path, parent: RunExporter | None) -> bool:
        assert self._destination is not None
        if folder in self._runs or not (folder / record.FILE_NAME).exists():
            return folder in self._runs
        run = RunExporter(
            folder,
            parent,
            self._destination.identity,
            self._cursors,
            is_new=self._has_looked,
        )
        self._runs[folder] = run
        self._add_children(folder, run)
        return True

    def _add_children(self, folder: Path, run: RunExporter | None) -> None:
        known = self._children.setdefault(folder, set())
        for name in runs_below(folder, known):
            if self._add(folder / name, run):
                known.add(name)

    def _start_over(self) -> None:
        """The experiment is another one than it was: its database was replaced."""
        self._destination, self._has_looked = None, False
        self._runs.clear()
        self._children.clear()

    def _back_off(self, error: Exception) -> None:
        unreachable = isinstance(error, (Unreachable, OSError))
        self.reason = str(error)
        if unreachable:
            self.reason = f"{redacted(self._uri)}: {plain(str(error))}"
        if self.progress > self._progress_at_failure:
            self._delay, self._timeout = 0.25, client.TIMEOUT_SECONDS
        else:
            self._delay = min(MAX_DELAY_SECONDS, 2 * self._delay)
            if "no answer in time" in self.reason:
                self._timeout = min(MAX_TIMEOUT_SECONDS, 2 * self._timeout)
        client.be_patient(self._timeout)
        self._progress_at_failure = self.progress
        self._retry_at = time.monotonic() + self._delay * random.uniform(0.8, 1.2)
        if self._destination is None:
            self._unconnected = waiting(self._root, self._cursors, reason=self.reason)
