"""The export of records to MLflow: a run's folder, or a study's folder with all runs below it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from hrm_sweep.errors import RecordError, StudyError, TrackingError
from hrm_sweep.runs import layout
from hrm_sweep.runs.export_state import Backlog, waiting
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_folders import runs_below
from hrm_sweep.runs.study import Study
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.system.locks import FileLock
from hrm_sweep.system.redact import redacted
from hrm_sweep.tracking import client
from hrm_sweep.tracking.errors import Gone, Refused, Unreachable, plain
from hrm_sweep.tracking.ranks import write_ranks
from hrm_sweep.tracking.run_exporter import Pictures, RunExporter
from hrm_sweep.tracking.store import ARTIFACTS, database_path, resolve_uri

TURN_SECONDS = 0.5
"""How long a step works on ended runs before living ones have their turn again."""
MAX_DELAY_SECONDS = 8.0
MAX_TIMEOUT_SECONDS = 40
RANKED_AGAIN = 4
"""Trials are ranked again when there are so many times as many as before."""
WAKES_A_STEP = 200
"""Ended runs that a step checks for another attempt, in turn."""


def no_pictures(_: Path) -> Iterable[str]:
    """Draw nothing."""
    return ()


class Exporter:
    """Sends the records at and below `root` to one experiment, as they grow, exactly once.

    Args:
        root: a study's folder (its record becomes the parent run, the runs below it the
            children), or the folder of a single run.
        tracking_uri: see `resolve_uri`.
        pictures: draws in the folder of a run that has ended, before its files are sent; returns
            the names of the pictures, or None while it draws.
        state_file: name of the export state in each run's folder.

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
        state_file: str = layout.EXPORT_STATE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._experiment, self._pictures = root, experiment, pictures
        self._state_file, self._now = state_file, monotonic
        self._uri = resolve_uri(tracking_uri)
        self._destination: client.Destination | None = None
        self._lock: FileLock | None = None
        self._runs: dict[Path, RunExporter] = {}
        self._children: dict[Path, set[str]] = {}
        self._has_all_children: set[Path] = set()
        """Folders of runs that were looked into after the run had ended."""
        self._has_scanned = False
        """Runs found after the first scan are new, so MLflow need not be searched for them."""
        self._woken_up_to = 0
        self._num_ranked = 0
        self._delay, self._retry_at, self._timeout = 0.0, 0.0, client.TIMEOUT_SECONDS
        self._progress_at_failure = -1
        self._unconnected = Backlog()
        self.reason = ""
        """Why the last attempt to send failed, "" if it did not."""
        self.progress = 0
        """Grows with all that was delivered, and with the connection."""

    @property
    def sent(self) -> int:
        """Measurements sent."""
        return sum(run.sent for run in self._runs.values())

    @property
    def has_work(self) -> bool:
        """Whether something waits that was not refused."""
        if self._destination is None:
            return self._unconnected.runs > 0
        return any(run.is_due or run.has_failed for run in self._runs.values())

    def step(self) -> Backlog:
        """Send what is new, living runs first; return what is left.

        A server that fails is no error: what it did not take waits for a later step, after pauses
        that grow to `MAX_DELAY_SECONDS`.
        """
        if self._now() >= self._retry_at:
            try:
                self._send()
            except Gone:
                self._start_over()
            except (TrackingError, OSError) as error:
                self._back_off(error)
        return self.backlog()

    def backlog(self) -> Backlog:
        """Return what is left; measurements in records that were not opened yet are not counted."""
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
        """Let another process send these runs."""
        if self._lock:
            self._lock.release()

    def _send(self) -> None:
        if self._destination and self._destination.is_replaced:
            self._start_over()
        if self._destination is None:
            if not self._locked():
                return
            self._destination = client.connect(self._uri, self._experiment)
            self._children[self._root] = self._files_of_mlflow()
            self.progress += 1
        self._add(self._root, None)
        self._add_children(self._root, self._runs.get(self._root))
        for run in list(self._runs.values()):
            self._follow_children(run)
        self._has_scanned = True
        self._take_turns(list(self._runs.values()), self._destination)
        self._rank_trials(self._destination)
        self.reason, self._progress_at_failure = "", -1
        self._timeout = client.TIMEOUT_SECONDS
        client.be_patient(self._timeout)

    def _take_turns(self, runs: list[RunExporter], destination: client.Destination) -> None:
        for run in runs:
            if run.is_alive and not run.is_postponed:
                self._advance(run, destination)
        end = self._now() + TURN_SECONDS
        for run in reversed(runs):  # the newest first: of those not read yet, they may be alive
            while run.is_due and not run.is_alive and self._now() < end:
                if not self._advance(run, destination):
                    break
        for run in runs:
            run.remove_doubles(destination)
            run.follow_parent(destination)
        self._follow_models(runs, destination)
        for run in runs[self._woken_up_to : self._woken_up_to + WAKES_A_STEP]:
            run.wake()
        self._woken_up_to = (self._woken_up_to + WAKES_A_STEP) * (
            self._woken_up_to + WAKES_A_STEP < len(runs)
        )

    def _follow_models(self, runs: list[RunExporter], destination: client.Destination) -> None:
        """Send the models that were kept, once the study has ended, and remove those that were not.

        A study that was stopped may still find another best.
        """
        root = self._runs.get(self._root)
        if root is None or not root.is_done:
            return
        is_complete = _outcome(self._root) == Outcome.COMPLETE.word
        for run in runs:
            self.progress += run.follow_models(destination, is_study_complete=is_complete)

    def _rank_trials(self, destination: client.Destination) -> None:
        """Rank the trials when all is sent, and until then whenever many more have ended.

        Each ranking writes most ranks anew, one request for each.
        """
        study = self._runs.get(self._root)
        num_ended = sum(run.is_done and run.parent is study for run in self._runs.values())
        is_due = num_ended >= RANKED_AGAIN * self._num_ranked or all(
            map(_is_done, self._runs.values())
        )
        if study is None or not study.run_id or num_ended == self._num_ranked or not is_due:
            return
        if objectives := _objectives(self._root):
            write_ranks(destination, study.run_id, objectives)
        self._num_ranked = num_ended

    def _advance(self, run: RunExporter, destination: client.Destination) -> bool:
        """Send one batch, or the end, of one run; return whether there was something to send."""
        parent = run.parent
        if parent and not parent.run_id and not parent.is_done:
            return parent.is_due and self._advance(parent, destination)
        try:
            worked = run.advance(destination, self._pictures)
        except Gone:
            if not destination.is_still_there():
                raise
            if not run.share(destination):
                run.give_up()  # the user deleted this run and does not want it back
            return True
        except Refused as error:
            run.postpone(f"run {run.folder.name}: {error}")
            return False
        except Unreachable as error:
            run.count_failure(f"run {run.folder.name}: {plain(str(error))}")
            raise
        self.progress += worked
        return worked

    def _locked(self) -> bool:
        """Lock the folder: two exporters at once would create each run twice."""
        if self._lock is None and self._root.is_dir():
            lock = FileLock(self._root / layout.EXPORTER_LOCK)
            if not lock.acquire(timeout=0):
                lock.release()
                raise Unreachable("another process is sending these runs")
            self._lock = lock
        return self._lock is not None

    def _add(self, folder: Path, parent: RunExporter | None) -> bool:
        assert self._destination is not None
        if folder in self._runs or not (folder / layout.RECORD).exists():
            return folder in self._runs
        run = RunExporter(
            folder,
            parent,
            self._destination.identity,
            self._state_file,
            is_new=self._has_scanned,
            monotonic=self._now,
        )
        self._runs[folder] = run
        self._add_children(folder, run)
        return True

    def _follow_children(self, run: RunExporter) -> None:
        """Look for repeats until a run has ended, and then once more: a short one is fast."""
        if not run.is_done:
            self._has_all_children.discard(run.folder)
        elif run.folder in self._has_all_children:
            return
        else:
            self._has_all_children.add(run.folder)
        self._add_children(run.folder, run)

    def _add_children(self, folder: Path, run: RunExporter | None) -> None:
        known = self._children.setdefault(folder, set())
        for name in runs_below(folder, known):
            if self._add(folder / name, run):
                known.add(name)

    def _files_of_mlflow(self) -> set[str]:
        """Return the folder, if it is below the root, where no run needs to be looked for."""
        path = database_path(self._uri)
        files = path.parent / ARTIFACTS if path else self._root
        return {str(files.relative_to(self._root))} if files.is_relative_to(self._root) else set()

    def _start_over(self) -> None:
        """Begin again with another experiment: the database was replaced."""
        self._destination, self._has_scanned, self._num_ranked = None, False, 0
        self._runs.clear()
        self._children.clear()
        self._has_all_children.clear()

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
        self._retry_at = self._now() + self._delay * random.uniform(0.8, 1.2)
        if self._destination is None:
            self._unconnected = waiting(self._root, self._state_file, reason=self.reason)


def _is_done(run: RunExporter) -> bool:
    return run.is_done


def _outcome(folder: Path) -> str:
    """Return how the run or study in a folder has ended; empty: it has not, or is damaged."""
    try:
        return str(Run.open(folder).last.fields.get("outcome", ""))
    except RecordError:
        return ""


def _objectives(folder: Path) -> Objectives | None:
    """Return how the trials of the study in a folder are judged; None for a run that is none."""
    try:
        run = Run.open(folder)
        return Study(run).objectives if run.kind == "study" else None
    except (RecordError, StudyError, KeyError):
        return None  # damaged, or written by an older version
