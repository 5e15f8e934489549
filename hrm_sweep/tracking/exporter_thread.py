"""What the exporter's process does, in a thread: a server that hangs must not keep it alive."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hrm_sweep.errors import TrackingError
from hrm_sweep.runs import layout, pictures
from hrm_sweep.runs.export_state import write_ends
from hrm_sweep.runs.run_folders import run_folders
from hrm_sweep.system.redact import redacted
from hrm_sweep.tracking import store

if TYPE_CHECKING:
    from hrm_sweep.tracking.exporter import Exporter

TICK_SECONDS = 0.4
GIVE_UP_SECONDS = 5.0
"""How long the end waits for a server that fails, and how long for one that only takes its time:"""
PATIENCE_SECONDS = 60.0
GRACE_SECONDS = 1.5
"""How long the end waits for runs that are alive: they may be about to die with the parent."""
ORPHAN_SECONDS = 8.0
"""How long the process outlives its parent: enough to import MLflow and to end the parent's runs
there. `sync` sends the rest."""


class ExporterThread:
    """Sends the runs at and below `root` until it is closed and nothing more can be sent.

    Args:
        parent: process id of the process that this one works for.
        pictures: dotted path of the function that draws a run's pictures; None draws none.
        ready: called when the experiment is there, or cannot be made now.
    """

    def __init__(
        self,
        root: Path,
        uri: str,
        experiment: str,
        state_file: str,
        *,
        parent: int,
        pictures: str | None,
        ready: Callable[[], None],
    ) -> None:
        self._root, self._uri, self._experiment = root, uri, experiment
        self._state_file, self._parent = state_file, parent
        self._pictures, self._ready = pictures, ready
        self._closing = threading.Event()
        self.reason = ""
        """Why the last attempt to send failed, "" if it did not."""
        self._progress: Callable[[], int] = lambda: 0
        self.sent: Callable[[], int] = lambda: 0
        """Returns the number of measurements sent."""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wait_for_goodbye(self) -> None:
        """Wait for the end of the input, the parent's death or the thread's end."""
        while self._thread.is_alive() and self._has_parent():
            readable, _, _ = select.select([sys.stdin.fileno()], [], [], 0.5)
            if readable and not os.read(sys.stdin.fileno(), 4096):
                return

    def finish(self) -> None:
        """Wait for the thread as long as it makes progress, and without the parent not for long."""
        self._closing.set()
        progress, moved_at, accompanied_at = self._progress(), time.monotonic(), time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.1)
            now = time.monotonic()
            if self._has_parent():
                accompanied_at = now
            if self._progress() != progress:
                progress, moved_at = self._progress(), now
            limit = GIVE_UP_SECONDS if self.reason else PATIENCE_SECONDS
            if now > moved_at + limit or now > accompanied_at + ORPHAN_SECONDS:
                return

    def _has_parent(self) -> bool:
        return os.getppid() == self._parent

    def _run(self) -> None:
        try:
            self._export()
        except TrackingError as error:
            self.reason = str(error)
        except BaseException as error:  # logged, reported to the parent, and the thread ends
            pictures.log(self._root, traceback.format_exc())
            what = f"{type(error).__name__}: {error}"
            self.reason = redacted(
                f"the exporter failed: {what}; see {layout.EXPORTER_LOG} in the folder"
            )

    def _export(self) -> None:
        write_ends(self._root)
        self._create_experiment()
        while not (_has_begun(self._root) or self._closing.wait(TICK_SECONDS / 4)):
            pass  # MLflow's import takes seconds of the cores that the workers start up on
        from hrm_sweep.tracking.exporter import Exporter

        exporter = Exporter(
            self._root,
            tracking_uri=self._uri,
            experiment=self._experiment,
            pictures=pictures.BackgroundDrawing(pictures.draw_function(self._pictures)),
            state_file=self._state_file,
        )
        self._progress = lambda: exporter.progress
        self.sent = lambda: exporter.sent
        self._until_closing(exporter)
        give_up = time.monotonic() + GRACE_SECONDS
        while write_ends(self._root) and time.monotonic() < give_up:
            self._step(exporter)
            time.sleep(TICK_SECONDS / 4)
        while self._step(exporter) or exporter.has_work:
            time.sleep(TICK_SECONDS / 4)

    def _create_experiment(self) -> None:
        """Create database and experiment before the parent runs anything that might do it too."""
        if not store.has_experiment(self._uri, self._experiment):
            from hrm_sweep.tracking import client

            with contextlib.suppress(TrackingError):  # the exporter tries again, and reports it
                client.connect(self._uri, self._experiment)
        self._ready()

    def _until_closing(self, exporter: Exporter) -> None:
        while not self._closing.is_set():
            if not (self._step(exporter) and exporter.has_work):
                self._closing.wait(TICK_SECONDS)

    def _step(self, exporter: Exporter) -> bool:
        """Take one step; return whether it did something."""
        before = exporter.progress
        self.reason = exporter.step().reason
        return exporter.progress > before


def _has_begun(root: Path) -> bool:
    """Whether a run has: a worker that has come that far has imported what it needs."""
    is_study = (root / layout.SWEEP_CONFIG).exists()
    return any(not is_study or folder != root for folder in run_folders(root))
