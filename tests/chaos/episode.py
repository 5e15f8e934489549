"""Episode: one study, its faults, its end, and how it differs from an undisturbed one."""

from __future__ import annotations

import json
import random
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos import snapshot
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.scenarios import Scenario, choose
from tests.chaos.services import Services
from tests.chaos.snapshot import Snapshot
from tests.chaos.victim import Victim

DISK_MEGABYTES = 64
DROPPED = re.compile(
    r"Exception ignored in:(?:.*\n)+?.*(?:StopSignal: SIG[A-Z]+|KeyboardInterrupt:?)"
    r"|Traceback \(most recent call last\):\n(?:  .*\n)+KeyboardInterrupt"
)
"""What Python prints of a signal that came within a destructor, or while it was itself starting."""
MARKS_OF_WORK = (".lock", ".tmp", ".part")
"""Ends of names that no study leaves behind."""


@dataclass
class Episode:
    """What came out of one study.

    Attributes:
        num_faults: how many struck it.
        lost: trials that are not complete, and rows and runs that MLflow lacks.
        doubled: trials that were trained again though complete, and what MLflow has twice.
        wrong: states, parameters, values, curves and weights that differ.
        left: processes and files.
    """

    seed: int
    number: int
    fault: str
    scenario: str
    num_faults: int = 0
    num_trials: int = 0
    seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether the study came out as if nothing had happened."""
        return not (self.lost or self.doubled or self.wrong or self.left)

    def to_json(self) -> str:
        """Return it in one line."""
        return json.dumps(asdict(self))


class Runner:
    """Runs episodes, one at a time.

    Args:
        folder: where studies are made; those that came out clean are removed.
        references: undisturbed studies by scenario, and the lock of those who share them.
    """

    def __init__(
        self, folder: Path, references: tuple[dict[Scenario, Snapshot], threading.Lock]
    ) -> None:
        self._folder, (self._references, self._lock) = folder, references
        self._services = Services(folder / "services")

    def close(self) -> None:
        """Stop the services."""
        self._services.close()

    def run(self, seed: int, number: int, fault: Fault) -> Episode:
        """Run the episode of a number, which is the same for the same seed."""
        chance = random.Random(f"{seed}-{number}")
        scenario = choose(chance, **fault.needs)
        episode = Episode(seed, number, fault.name, str(scenario), num_trials=scenario.num_trials)
        reference = self._reference(scenario)
        begin = time.monotonic()
        with self._victim(f"episode-{seed}-{number}", scenario, fault) as victim:
            known: dict[int, str] = {}
            for _ in range(chance.randrange(fault.most // 2, fault.most + 1)):
                if not victim.is_running:
                    victim.start()
                victim.wait_for_a_moment(chance)
                known |= victim.complete()
                fault.strike(victim, chance, self._services)
                episode.num_faults += 1
            self._let_it_end(victim, episode)
            self._compare(victim, reference, known, episode)
            if episode.is_clean:
                _remove(victim)
        episode.seconds = round(time.monotonic() - begin, 1)
        return episode

    def _reference(self, scenario: Scenario) -> Snapshot:
        with self._lock:
            if scenario not in self._references:
                name = f"reference-{len(self._references)}"
                with self._victim(name, scenario, None) as victim:
                    assert victim.finish(), victim.printed[-2000:]
                    self._references[scenario] = self._snapshot(victim)
                    _remove(victim)
        return self._references[scenario]

    @contextmanager
    def _victim(self, name: str, scenario: Scenario, fault: Fault | None) -> Iterator[Victim]:
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        sqlite = f"sqlite:///{folder}/multirun/optuna.db"
        is_small = fault is not None and fault.name == "disk full"
        if is_small:
            _mount(folder)
        environment = {}
        if fault is not None and fault.name == "clock set":
            clock = folder.with_suffix(".clock")
            clock.write_bytes(struct.pack("d", 0))
            environment = {"CHAOS_CLOCK": str(clock), "LD_PRELOAD": str(self._services.clock)}
        victim = Victim(
            folder,
            scenario,
            storage=self._services.new_database() if scenario.storage == "postgresql" else sqlite,
            tracking_uri=self._services.tracking_uri
            if scenario.tracking == "server"
            else "sqlite:///mlruns/mlflow.db",
            environment=environment,
        )
        try:
            with self._services.cluster(victim):
                yield victim
                victim.stop()
        finally:
            victim.stop()
            if is_small:
                subprocess.run(["umount", "--lazy", str(folder)], check=True)

    def _let_it_end(self, victim: Victim, episode: Episode) -> None:
        if not victim.finish():
            episode.lost.append(f"the study ends with exit code {victim.exit_codes[-1]}")
        for words in ("Traceback (most recent call last)", "Exception ignored"):
            if words in DROPPED.sub("", victim.printed):
                episode.wrong.append(f"it printed: {words}")
        if "not in MLflow yet" in victim.printed.rpartition("$ ")[2]:
            sync = [sys.executable, "-m", "hrm_sweep", "sync", "study"]
            done = subprocess.run(
                sync,
                cwd=victim.folder,
                env=victim.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                episode.lost.append(f"sync: {(done.stdout + done.stderr)[-300:]}")

    def _snapshot(self, victim: Victim) -> Snapshot:
        database = None
        if victim.scenario.tracking == "sqlite":
            database = victim.folder / "mlruns" / "mlflow.db"
        elif victim.scenario.tracking == "server":
            database = self._services.tracking_database
        storage = victim.environment["HRM_SWEEP_STORAGE"]
        return snapshot.take(victim.study, storage, database, victim.experiment)

    def _compare(
        self, victim: Victim, reference: Snapshot, known: dict[int, str], episode: Episode
    ) -> None:
        episode.left += [f"process: {command}" for command in victim.leftovers()]
        try:
            found = self._snapshot(victim)
        except Exception as error:  # whatever it is, it is the finding
            episode.lost.append(f"it cannot be read: {type(error).__name__}: {error}")
            return
        names = {f"study/{name}" for name in found.files - reference.files}
        names |= {path.name for path in (victim.folder / "multirun").glob(".*.lock")}
        names -= {".optuna.db.lock"}
        episode.left += sorted(name for name in names if name.endswith(MARKS_OF_WORK))
        for number in range(victim.scenario.num_trials):
            state = found.trials.get(number, ("missing",))[0]
            outcome = found.records.get(number, ("missing", {}))[0]
            if state != "COMPLETE" or outcome != "complete":
                episode.lost.append(f"trial {number}: Optuna {state}, record {outcome}")
                continue
            for what, here, there in (
                ("of Optuna", found.trials[number], reference.trials[number]),
                ("of the record", found.records[number], reference.records[number]),
                ("weights", found.weights[number], reference.weights[number]),
            ):
                if here != there:
                    episode.wrong.append(f"trial {number}, {what}: {here} instead of {there}")
        further = found.trials.keys() - reference.trials.keys()
        episode.doubled += [f"trial {number}" for number in sorted(further)]
        now = victim.complete()
        for number, name in known.items():
            if now.get(number) != name and number not in victim.damaged:
                episode.doubled.append(f"trial {number} was complete and has another record")
        episode.doubled += [
            f"trial {number} was trained again" for number in _trained_again(victim)
        ]
        for what in ("statuses", "rows"):
            here, there = getattr(found, what), getattr(reference, what)
            if what == "rows":  # what a record has lost is measured again, to the same values
                here = Counter(
                    {row: 1 if _number(row) in victim.damaged else n for row, n in here.items()}
                )
            episode.lost += [f"MLflow lacks {row}" for row in (there - here)][:5]
            episode.doubled += [f"MLflow also has {row}" for row in (here - there)][:5]


def _number(row: snapshot.Row) -> int | None:
    """Return the number of the trial that a row of MLflow belongs to."""
    first = row[0].partition(" ")[0]
    return int(first) if first.isdecimal() else None


def _trained_again(victim: Victim) -> Iterator[int]:
    """Yield the trials that began another attempt after they were complete."""
    for number in range(victim.scenario.num_trials):
        path = victim.study / str(number) / "record.jsonl"
        if number in victim.damaged or not path.exists():
            continue
        is_complete = False
        for line in snapshot.whole_lines(path):
            entry = json.loads(line)
            if entry["event"] == "started" and is_complete:
                yield number
                break
            is_complete |= entry.get("outcome") == "complete"


def _mount(folder: Path) -> None:
    options = f"size={DISK_MEGABYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def _remove(victim: Victim) -> None:
    for path in victim.folder.parent.glob(f"{victim.folder.name}.*"):
        path.unlink()
    for path in victim.folder.iterdir():  # the folder itself may be the root of a disk
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def possible_faults(only: str) -> tuple[list[Fault], list[str]]:
    """Return the faults that this machine can do and whose names contain a text; and why not."""
    chosen = [fault for fault in FAULTS if only in fault.name]
    missing = [f"{fault.name}: {why}" for fault in chosen if (why := fault.why_not())]
    return [fault for fault in chosen if not fault.why_not()], missing
