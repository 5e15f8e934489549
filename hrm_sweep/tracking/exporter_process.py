"""The process that sends records to MLflow while others train.

It is started as `python -m hrm_sweep.tracking.exporter_process`.

`ExporterProcess` is its parent's side, and imports nothing heavy. The two talk little: one line of
settings goes in (a password is not for the list of processes), and the end of the input, by a
goodbye or by the parent's death, asks for the end. Two lines come out: that the experiment is
there, and what is left. Without its parent the process ends within seconds.
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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hrm_sweep.errors import TrackingError
from hrm_sweep.runs import layout
from hrm_sweep.runs.export_state import Backlog, waiting
from hrm_sweep.tracking import moved_store, store
from hrm_sweep.tracking.exporter_thread import PATIENCE_SECONDS, ExporterThread

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
        is_awaited: whether trials wait until the database is there, which takes seconds the first
            time; if not, it starts beside them.

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
        is_awaited: bool = True,
    ) -> None:
        self.root, self._experiment, self._state_file = root.absolute(), experiment, state_file
        self._pictures = pictures
        self._uri = store.resolve_uri(uri)
        store.check(self._uri)
        moved_store.follow(self._uri)
        self.backlog = Backlog()
        """What was left at the end."""
        self._starts = 0
        self._process = self._start() if is_awaited else None

    def close(self, timeout: float | None = 120.0) -> Backlog:
        """Says goodbye, and waits until everything is sent or cannot be; returns what is left.

        Args:
            timeout: seconds after which the rest is left to `sync`.
        """
        process = self._process = self._process or self._start()
        try:
            output, _ = process.communicate(timeout=timeout)
            last = output.decode().strip().rpartition("\n")[2]
            self.backlog = Backlog(**json.loads(last))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.backlog = self._waiting("it takes too long")
        except (ValueError, TypeError):  # nothing, or "ready" was its last word
            code = process.returncode
            self.backlog = self._waiting(f"the exporter ended with code {code}")
        return self.backlog

    def begin(self, _: Any) -> None:
        """Wait for the database and the experiment if a trial may use them by MLflow's own means.

        MLflow destroys a database that two processes begin to use at once, and would keep the
        files of an experiment that a trial creates in the trial's folder.
        """
        if self._process is None or store.has_experiment(self._uri, self._experiment):
            return
        assert self._process.stdout is not None
        select.select([self._process.stdout], [], [], PATIENCE_SECONDS)

    def tick(self) -> None:
        """Start the process, again if it was killed."""
        has_ended = self._process is None or self._process.poll() is not None
        if has_ended and self._starts < MAX_STARTS:
            self._process = self._start()

    def trial_ended(self, _: Any) -> None:
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
                *(sys.executable, "-m", "hrm_sweep.tracking.exporter_process", str(self.root)),
                *("--experiment", self._experiment, "--state-file", self._state_file),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C and a closed terminal are the parent's affair
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead already; close() tells
            settings = {"uri": self._uri, "pictures": self._pictures, "parent": os.getpid()}
            process.stdin.write(json.dumps(settings).encode() + b"\n")
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


def _give_way() -> None:
    """Lower the priority, so that processes that train go first.

    Linux compares sessions before the processes in them, so the session gets a nice value:
    sched(7).
    """
    os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))


def main() -> None:
    """Read the settings, work until the input ends, and print what is left."""
    parser = argparse.ArgumentParser(
        prog="python -m hrm_sweep.tracking.exporter_process", description=__doc__
    )
    parser.add_argument("root", type=Path, help="folder of a study or of a single run")
    parser.add_argument("--experiment", required=True, help="MLflow experiment")
    parser.add_argument("--state-file", required=True, help="name of the export state files")
    arguments = parser.parse_args()
    line = sys.stdin.buffer.readline()
    if not line:
        return  # the parent died before it said anything
    settings = json.loads(line)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _give_way()
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with Path(os.devnull).open("w") as nowhere:  # what libraries print is not part of the answer
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    sys.modules.update(dict.fromkeys(NOT_NEEDED))  # type: ignore[arg-type]
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it asks the tracking server alone
    gc.set_threshold(100_000)  # of the half a million objects that are imported, none is garbage

    try:
        uri = store.resolve_uri(settings.get("uri"))
    except TrackingError as error:
        parser.error(str(error))

    def tell(value: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the parent died, or did not wait
            answer.write(json.dumps(value) + "\n")
            answer.flush()

    work = ExporterThread(
        arguments.root,
        uri,
        arguments.experiment,
        arguments.state_file,
        parent=settings["parent"],
        pictures=settings["pictures"],
        ready=lambda: tell({"is_ready": True}),
    )
    work.start()
    work.wait_for_goodbye()
    work.finish()
    left = waiting(arguments.root, arguments.state_file)
    tell(asdict(replace(left, sent=work.sent(), reason=work.reason if left.runs else "")))
    os._exit(0)  # the thread may hang in a request


if __name__ == "__main__":
    main()
