"""The process that sends records to MLflow while others train.

It is started as `python -m hrm_sweep.tracking.exporter_process`.

`ProjectorProcess` is its parent's side, and imports nothing heavy. The two talk little: one line of
settings goes in (a password is not for the list of processes), and the end of the input, by a
goodbye or by the parent's death, asks for the end. One line comes out: what is left.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_sweep.errors import TrackingError
from hrm_sweep.runs import layout, pictures
from hrm_sweep.runs.export_state import Backlog, settle_dead, waiting
from hrm_sweep.runs.run_folders import run_folders
from hrm_sweep.system.redact import redacted
from hrm_sweep.tracking import moved_store, store

if TYPE_CHECKING:
    from hrm_sweep.tracking.exporter import Exporter

TICK_SECONDS = 0.4
GIVE_UP_SECONDS = 5.0
"""How long the end waits for a server that fails, and how long for one that only takes its time:"""
PATIENCE_SECONDS = 60.0
GRACE_SECONDS = 1.5
"""How long the end waits for runs that are alive: they may be about to die with the parent."""
MAX_STARTS = 3
NICE = 5
NOT_NEEDED = ("pandas", "pyarrow", "sklearn", "litellm")
"""MLflow imports these if they are there: 0.7 s and 90 MB beside the processes that train."""


class ExporterProcess:
    """Sends the runs at and below `root` to MLflow from now on, in a process of its own.

    It is an observer of a study's engine too, and needs none of what the engine tells.

    Args:
        root: a study's folder, or the folder of a single run; it need not be there yet.
        uri: see `resolve_uri`.
        state_file: see `Exporter`.
        pictures: dotted path of the function that draws a run's pictures; None draws none.

    Raises:
        TrackingError: MLflow cannot keep runs at the address.
    """

    def __init__(
        self,
        root: Path,
        uri: str | None,
        experiment: str,
        *,
        state_file: str = layout.EXPORT_STATE,
        pictures: str | None = None,
    ) -> None:
        self.root, self._experiment, self._state_file = root.absolute(), experiment, state_file
        self._pictures = pictures
        self._uri = store.resolve_uri(uri)
        store.check(self._uri)
        moved_store.follow(self._uri)
        self.backlog = Backlog()
        """What was left at the end."""
        self._starts = 0
        self._process = self._start()

    def close(self, timeout: float | None = 120.0) -> Backlog:
        """Says goodbye, and waits until everything is sent or cannot be; returns what is left.

        Args:
            timeout: seconds after which the process is left to finish alone.
        """
        try:
            output, _ = self._process.communicate(timeout=timeout)
            last = output.decode().strip().rpartition("\n")[2]
            self.backlog = Backlog(**json.loads(last))
        except subprocess.TimeoutExpired:
            self.backlog = self._waiting("it is still being sent, in the background")
        except ValueError:
            code = self._process.returncode
            self.backlog = self._waiting(f"the exporter ended with code {code}")
        return self.backlog

    def begin(self, _: Any) -> None:
        """Do nothing: the process runs already."""

    def tick(self) -> None:
        """Start the process again if it was killed."""
        if self._process.poll() is not None and self._starts < MAX_STARTS:
            self._process = self._start()

    def settled(self, _: Any) -> None:
        """Do nothing: the process reads the record."""

    def end(self) -> None:
        """Wait for what is left to send."""
        self.close()

    def _waiting(self, reason: str) -> Backlog:
        return waiting(self.root, self._state_file, reason=reason)

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts += 1
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "hrm_sweep.tracking.exporter_process"),
                *(
                    str(self.root),
                    "--experiment",
                    self._experiment,
                    "--state-file",
                    self._state_file,
                ),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C and a closed terminal are the parent's affair
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead already; close() tells
            process.stdin.write(
                json.dumps({"uri": self._uri, "pictures": self._pictures}).encode() + b"\n"
            )
            process.stdin.flush()
        return process


def sync(
    root: Path,
    uri: str | None,
    experiment: str,
    *,
    state_file: str = layout.EXPORT_STATE,
    pictures: str | None = None,
) -> Backlog:
    """Send what is not in MLflow yet, and the ends of runs that died; return what is left.

    Continues as long as it makes progress. A study that another process is sending is left to that.
    """
    process = ExporterProcess(root, uri, experiment, state_file=state_file, pictures=pictures)
    return process.close(timeout=None)


class _Work:
    """What the process does, in a thread: a server that hangs must not keep the process alive."""

    def __init__(
        self, root: Path, uri: str, experiment: str, state_file: str, pictures: str | None
    ) -> None:
        self._root, self._uri, self._experiment, self._state_file = (
            root,
            uri,
            experiment,
            state_file,
        )
        self._pictures = pictures
        self.closing = threading.Event()
        self.reason = ""
        self.progress: Callable[[], int] = lambda: 0
        self.sent: Callable[[], int] = lambda: 0
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._export()
        except TrackingError as error:
            self.reason = str(error)
        except BaseException as error:  # logged, reported to the parent, and the thread ends
            pictures.log(self._root, redacted(traceback.format_exc()))
            what = f"{type(error).__name__}: {error}"
            self.reason = redacted(
                f"the exporter failed: {what}; see {layout.EXPORTER_LOG} in the folder"
            )

    def _export(self) -> None:
        settle_dead(self._root)
        while not (_has_begun(self._root) or self.closing.wait(TICK_SECONDS / 4)):
            pass  # MLflow's import takes seconds of the cores that the workers start up on
        from hrm_sweep.tracking.exporter import Exporter

        exporter = Exporter(
            self._root,
            tracking_uri=self._uri,
            experiment=self._experiment,
            pictures=pictures.BackgroundDrawing(pictures.draw_function(self._pictures)),
            state_file=self._state_file,
        )
        self.progress = lambda: exporter.progress
        self.sent = lambda: exporter.sent
        self._until_closing(exporter)
        give_up = time.monotonic() + GRACE_SECONDS
        while settle_dead(self._root) and time.monotonic() < give_up:
            self._step(exporter)
            time.sleep(TICK_SECONDS / 4)
        while self._step(exporter) or exporter.has_work:
            time.sleep(TICK_SECONDS / 4)

    def _until_closing(self, exporter: Exporter) -> None:
        while not self.closing.is_set():
            if not (self._step(exporter) and exporter.has_work):
                self.closing.wait(TICK_SECONDS)

    def _step(self, exporter: Exporter) -> bool:
        """Take one step; return whether it did something."""
        before = exporter.progress
        self.reason = exporter.step().reason
        return exporter.progress > before

    def finish(self) -> None:
        """Wait for the thread, as long as it makes progress."""
        self.closing.set()
        progress, since = self.progress(), time.monotonic()
        while self.thread.is_alive():
            self.thread.join(0.1)
            if self.progress() != progress:
                progress, since = self.progress(), time.monotonic()
            limit = GIVE_UP_SECONDS if self.reason else PATIENCE_SECONDS
            if time.monotonic() > since + limit:
                return


def _give_way() -> None:
    """Lower the priority, so that processes that train go first.

    Linux compares sessions before the processes in them, so the session gets a nice value:
    sched(7).
    """
    os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))


def _has_begun(root: Path) -> bool:
    """Whether a run has: a worker that has come that far has imported what it needs."""
    is_study = (root / layout.SWEEP_CONFIG).exists()
    return any(not is_study or folder != root for folder in run_folders(root))


def _wait_for_the_end(thread: threading.Thread) -> None:
    """Wait for the end of the input, the parent's death or the thread."""
    parent = os.getppid()
    while thread.is_alive() and os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin.fileno()], [], [], 0.5)
        if readable and not os.read(sys.stdin.fileno(), 4096):
            return


def main() -> None:
    """Read the settings, work until the input ends, and print what is left."""
    parser = argparse.ArgumentParser(
        prog="python -m hrm_sweep.tracking.exporter_process", description=__doc__
    )
    parser.add_argument("root", type=Path, help="folder of a study or of a single run")
    parser.add_argument("--experiment", required=True, help="MLflow experiment")
    parser.add_argument("--state-file", required=True, help="name of the export state files")
    arguments = parser.parse_args()
    settings = json.loads(sys.stdin.buffer.readline() or b"{}")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _give_way()
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with Path(os.devnull).open("w") as nowhere:  # what libraries print is not part of the answer
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    sys.modules.update(dict.fromkeys(NOT_NEEDED))  # type: ignore[arg-type]
    os.environ.setdefault(
        "MLFLOW_DISABLE_TELEMETRY", "true"
    )  # it talks to the tracking server only
    gc.set_threshold(100_000)  # of the half a million objects that are imported, none is garbage

    try:
        uri = store.resolve_uri(settings.get("uri"))
    except TrackingError as error:
        parser.error(str(error))
    drawn_by = settings.get("pictures")
    work = _Work(arguments.root, uri, arguments.experiment, arguments.state_file, drawn_by)
    work.thread.start()
    _wait_for_the_end(work.thread)
    work.finish()
    left = waiting(arguments.root, arguments.state_file)
    left = replace(left, sent=work.sent(), reason=work.reason if left.runs else "")
    with contextlib.suppress(BrokenPipeError):  # the parent died, or did not wait
        answer.write(json.dumps(asdict(left)) + "\n")
        answer.flush()
    os._exit(0)  # the thread may hang in a request


if __name__ == "__main__":
    main()
