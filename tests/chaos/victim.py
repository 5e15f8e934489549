"""Victim: one study in a folder of its own, which is started, hurt and started again."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from ray_cluster import RayCluster
from studies import PATIENCE_SECONDS

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import record
from tests.chaos.scenarios import CHECKPOINTS_OFTEN, Scenario

MARK = "CHAOS_EPISODE"
"""Variable that tells the processes of an episode from all others, also orphans."""
MOST_STARTS = 8
REMEDY = re.compile(r"\b(mv \S+ \S+)")


class Victim:
    """One study under faults.

    Args:
        folder: its project folder, empty.
        environment: variables of its processes beside those of this one.
    """

    def __init__(
        self,
        folder: Path,
        scenario: Scenario,
        *,
        storage: str,
        tracking_uri: str,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder, self.scenario, self.tracking_uri = folder, scenario, tracking_uri
        self.study = folder / "multirun" / "study"
        self.log = folder.with_suffix(".log")
        self.cluster: RayCluster | None = None
        """Where its trials run, if not in a pool."""
        self.damaged: set[int] = set()
        """Trials whose record a fault has destroyed; they may be trained again."""
        self.exit_codes: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        paths = [str(CHECKPOINTS_OFTEN), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "HRM_SWEEP_STORAGE": storage,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            MARK: str(folder),
            **(environment or {}),
        }

    @property
    def experiment(self) -> str:
        """Name of its experiment in MLflow, which no other study has."""
        return self.folder.name

    @property
    def typed(self) -> list[str]:
        """The command that runs or continues the study."""
        address = self.cluster.address if self.cluster else ""
        return self.scenario.command(self.tracking_uri, self.experiment, address)

    @property
    def is_running(self) -> bool:
        """Whether the sweep runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the sweep, which leads its process group."""
        assert self._process is not None
        return self._process.pid

    @property
    def printed(self) -> str:
        """All that its sweeps have printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def start(self) -> None:
        """Start the sweep, or continue it."""
        self._process = self.launch()

    def launch(self) -> subprocess.Popen[bytes]:
        """Start a sweep of the study, which may be one beside its own."""
        with self.log.open("ab") as log:
            log.write(f"$ {shlex.join(self.typed)}\n".encode())
            return subprocess.Popen(
                self.typed,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ends(self) -> int:
        """Wait for the end of the sweep and return its exit code."""
        assert self._process is not None
        code = self._process.wait(timeout=PATIENCE_SECONDS)
        self.exit_codes.append(code)
        return code

    def stop(self) -> None:
        """Kill the sweep and what belongs to it."""
        if self.is_running:
            self.signal_group(signal.SIGKILL)
            self.ends()
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.wait(timeout=PATIENCE_SECONDS)

    def signal_group(self, number: int) -> None:
        """Send a signal to the sweep's process group, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def processes(self, part: str = "") -> list[psutil.Process]:
        """Return the processes of this study whose command has a part in it, orphans too."""
        return [found for found in _marked(str(self.folder)) if part in command_of(found)]

    def wait_for_a_moment(self, chance: random.Random) -> None:
        """Wait, now and then within the start, mostly until a while after something was written."""
        if chance.random() < 0.3:
            time.sleep(chance.uniform(0, 3))
            return
        known = self._written()
        while self.is_running and self._written() == known:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))

    def finish(self) -> bool:
        """Start the sweep until it has ended well; follow the remedies that it prints."""
        for _ in range(MOST_STARTS):
            already = len(self.printed)
            if not self.is_running:
                self.start()
            code = self.ends()
            remedies = set(REMEDY.findall(self.printed[already:]))
            for remedy in remedies:
                subprocess.run(shlex.split(remedy), cwd=self.folder, check=False)
            if code == 0 and not remedies:
                return True
        return False

    def complete(self) -> dict[int, str]:
        """Return, for each trial whose record says that it is complete, what names that record."""
        found = {}
        for number in range(self.scenario.num_trials):
            with contextlib.suppress(RecordError, ValueError, OSError):
                entries = record.read(self.study / str(number))
                if any(entry.fields.get("outcome") == "complete" for entry in entries):
                    found[number] = str(entries[0].fields.get("record"))
        return found

    def leftovers(self) -> list[str]:
        """Return the commands of processes that outlive the study, however long they are given."""
        end = time.monotonic() + PATIENCE_SECONDS
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.1)
        return [command_of(process) for process in left]

    def _written(self) -> int:
        total = 0
        for path in self.study.glob("*/record.jsonl"):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
        return total


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def command_of(process: psutil.Process) -> str:
    """Return the command line of a process; "": it is gone."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
