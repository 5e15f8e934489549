"""Faults: what is done to a study, each by its name in the table."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import psutil
from ray_cluster import raylet_of

from tests.chaos.services import Services
from tests.chaos.victim import Victim, command_of

WORKER, EXPORTER = "hrm_sweep.launch.", "exporter_process"
TASK, MAILBOXES = "ray::_messages", "ray::_Boxes"
Strike = Callable[[Victim, random.Random, Services], None]


class Fault(NamedTuple):
    """One kind of fault.

    Attributes:
        strike: does it to a study that runs, or after its end where that came first.
        needs: what a scenario must have for it, as arguments of `scenarios.choose`.
        most: how often at most it strikes one study.
        why_not: says why this machine cannot do it; empty if it can.
    """

    name: str
    strike: Strike
    needs: Mapping[str, Any] = MappingProxyType({})
    most: int = 12
    why_not: Callable[[], str] = lambda: ""


def _processes(victim: Victim, part: str) -> list[psutil.Process]:
    """Return the processes with that part in their command; without one, the sweep."""
    if part:
        return victim.processes(part)
    return [psutil.Process(victim.pid)] if victim.is_running else []


def _signalling(number: int, part: str) -> Strike:
    def strike(victim: Victim, chance: random.Random, _: Services) -> None:
        if found := _processes(victim, part):
            with contextlib.suppress(psutil.Error):
                chance.choice(found).send_signal(number)

    return strike


def _signalling_group(number: int) -> Strike:
    return lambda victim, *_: victim.signal_group(number)


def _stopping(part: str) -> Strike:
    """Stop a process for a while; half of them never get on."""

    def strike(victim: Victim, chance: random.Random, _: Services) -> None:
        if not (found := _processes(victim, part)):
            return
        process = chance.choice(found)
        with contextlib.suppress(psutil.Error):
            process.suspend()
            time.sleep(chance.uniform(0.2, 2))
            process.kill() if chance.random() < 0.5 else process.resume()

    return strike


def _full_disk(victim: Victim, chance: random.Random, _: Services) -> None:
    filler = victim.folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", 0) as file:
        while True:
            file.write(bytes(1 << 16))
    with contextlib.suppress(OSError), filler.open("ab", 0) as file:
        while True:
            file.write(b"\0")
    time.sleep(chance.uniform(0.3, 3))
    filler.unlink()


def _no_tmpfs() -> str:
    return "" if os.geteuid() == 0 and sys.platform == "linux" else "needs root, to mount a disk"


def _locked_database(victim: Victim, chance: random.Random, _: Services) -> None:
    path = victim.folder / "multirun" / "optuna.db"
    if not path.exists():
        return
    other = sqlite3.connect(path, timeout=20)
    with contextlib.closing(other), contextlib.suppress(sqlite3.OperationalError):
        other.execute(chance.choice(["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"]))
        time.sleep(chance.uniform(0.5, 12))


def _without_database(victim: Victim, chance: random.Random, _: Services) -> None:
    victim.stop()
    for path in (victim.folder / "multirun").glob("optuna.db*"):
        path.unlink()


def _flipped_database(victim: Victim, chance: random.Random, _: Services) -> None:
    victim.stop()
    flip(victim.folder / "multirun" / "optuna.db", chance, times=chance.choice([1, 20, 2000]))


def _older_database(victim: Victim, chance: random.Random, _: Services) -> None:
    """Put back a copy from the last time that this fault came by."""
    victim.stop()
    path = victim.folder / "multirun" / "optuna.db"
    backup = victim.folder.with_suffix(".backup")
    if backup.exists():
        for old in path.parent.glob("optuna.db*"):
            old.unlink()
        shutil.copy(backup, path)
    elif path.exists():
        shutil.copy(path, backup)


def _restarted_server(victim: Victim, chance: random.Random, services: Services) -> None:
    services.restart_postgresql(chance.uniform(0, 3))


def _bad_tracking(victim: Victim, chance: random.Random, services: Services) -> None:
    with services.faulty_tracking(chance):
        time.sleep(chance.uniform(0.5, 4))


def _tracking_down(victim: Victim, chance: random.Random, services: Services) -> None:
    with services.no_tracking():
        time.sleep(chance.uniform(0.5, 4))


def flip(path: Path, chance: random.Random, *, times: int = 1) -> None:
    """Flip bits of a file, if it is there."""
    if not path.exists() or not (size := path.stat().st_size):
        return
    with path.open("r+b", 0) as file:
        for _ in range(times):
            place = chance.randrange(size)
            byte = os.pread(file.fileno(), 1, place)[0]
            os.pwrite(file.fileno(), bytes([byte ^ 1 << chance.randrange(8)]), place)


def _in_a_record(change: Callable[[bytes, random.Random], bytes | None]) -> Strike:
    """Change the record of a trial while nothing runs; None removes it."""

    def strike(victim: Victim, chance: random.Random, _: Services) -> None:
        victim.stop()
        found = sorted(victim.study.glob("*/record.jsonl"))
        records = [path for path in found if path.parent.name.isdecimal()]
        if not records:
            return
        path = chance.choice(records)
        victim.damaged.add(int(path.parent.name))
        new = change(path.read_bytes(), chance)
        path.unlink()  # not written through: a copy elsewhere may share the file
        if new is not None:
            path.write_bytes(new)

    return strike


def _torn(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(1, len(data) + 1)] if data else data


def _long_tail(data: bytes, chance: random.Random) -> bytes:
    return data + b'{"n": 1, "text": "' + b"x" * chance.randrange(1 << 16, 1 << 18)


def _nul_page(data: bytes, chance: random.Random) -> bytes:
    begin = chance.randrange(len(data) + 1)
    return data[:begin] + bytes(min(4096, len(data) - begin)) + data[begin + 4096 :]


def _one_bit(data: bytes, chance: random.Random) -> bytes:
    changed, place = bytearray(data), chance.randrange(max(1, len(data)))
    if changed:
        changed[place] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _line_lost(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        del lines[chance.randrange(len(lines))]
    return b"".join(lines)


def _damaged_checkpoint(victim: Victim, chance: random.Random, _: Services) -> None:
    victim.stop()
    checkpoints = sorted(victim.study.glob("[0-9]*/checkpoint_?.pth"))
    if not checkpoints:
        return
    path = chance.choice(checkpoints)
    data = path.read_bytes()
    match chance.randrange(4):
        case 0:
            path.write_bytes(data[: chance.randrange(len(data))])
        case 1:
            path.write_bytes(b"")
        case 2:
            path.write_bytes(_nul_page(data, chance))
        case 3:
            flip(path, chance)


def _clock_jump(victim: Victim, chance: random.Random, services: Services) -> None:
    jump = chance.choice([-86400.0, -3600.0, 3600.0, 86400.0 * 30])
    clock = Path(victim.environment["CHAOS_CLOCK"])
    clock.write_bytes(struct.pack("d", jump + struct.unpack("d", clock.read_bytes())[0]))


def _second_sweep(victim: Victim, chance: random.Random, _: Services) -> None:
    """Run the same command beside it; one of the two may find nothing left to do."""
    other = victim.launch()
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0, 5))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(other.pid, signal.SIGKILL)
    other.wait()


def _moved_folder(victim: Victim, chance: random.Random, _: Services) -> None:
    """Give the study's files other inodes, as a copy to another disk and back does."""
    victim.stop()
    if not victim.study.exists():
        return
    elsewhere = victim.folder.with_suffix(".elsewhere")
    shutil.copytree(victim.study, elsewhere, symlinks=True)
    shutil.rmtree(victim.study)
    shutil.move(elsewhere, victim.study)


def _killing_in_cluster(part: str) -> Strike:
    """Kill a process of the Ray cluster."""

    def strike(victim: Victim, chance: random.Random, _: Services) -> None:
        assert victim.cluster is not None
        if found := [each for each in victim.cluster.processes() if part in command_of(each)]:
            with contextlib.suppress(psutil.Error):
                chance.choice(found).kill()

    return strike


def _any_on_ray(victim: Victim, chance: random.Random, services: Services) -> None:
    fault = chance.choice([each for each in FAULTS if each.needs.get("launcher") == "ray"][:-1])
    fault.strike(victim, chance, services)


def _on_ray(name: str, strike: Strike) -> Fault:
    needs = {"app": "parabola", "storage": "sqlite", "launcher": "ray"}
    return Fault(f"Ray: {name}", strike, needs, most=6, why_not=_no_tmpfs)


def _lost_node(victim: Victim, chance: random.Random, _: Services) -> None:
    """Kill a node's raylet, or all of its processes; another one takes its place."""
    assert victim.cluster is not None
    node = chance.choice(victim.cluster.nodes)
    if chance.random() < 0.5:
        raylet_of(node).kill()
        time.sleep(chance.uniform(0, 3))
    victim.cluster.remove(node)
    time.sleep(chance.uniform(0, 3))
    victim.cluster.add_node(hidden=victim.folder)


FOREIGN, TRACKED = {"app": "parabola"}, {"tracking": "sqlite"}
FAULTS = (
    Fault("SIGKILL of a worker", _signalling(signal.SIGKILL, WORKER), most=24),
    Fault("SIGKILL of the sweep", _signalling(signal.SIGKILL, "")),
    Fault("SIGKILL of the exporter", _signalling(signal.SIGKILL, EXPORTER), TRACKED),
    Fault("SIGKILL of the group", _signalling_group(signal.SIGKILL)),
    Fault("SIGTERM of a worker", _signalling(signal.SIGTERM, WORKER), most=16),
    Fault("SIGTERM of the sweep", _signalling(signal.SIGTERM, "")),
    Fault("SIGTERM of the exporter", _signalling(signal.SIGTERM, EXPORTER), TRACKED),
    Fault("SIGTERM of the group", _signalling_group(signal.SIGTERM)),
    Fault("SIGINT of the group (Ctrl-C)", _signalling_group(signal.SIGINT)),
    Fault("SIGHUP of the group (closed terminal)", _signalling_group(signal.SIGHUP)),
    Fault("SIGSTOP of a worker", _stopping(WORKER)),
    Fault("SIGSTOP of the sweep", _stopping("")),
    Fault("SIGSTOP of the exporter", _stopping(EXPORTER), TRACKED),
    Fault("disk full", _full_disk, {"storage": "sqlite"}, why_not=_no_tmpfs),
    Fault("second sweep beside it", _second_sweep, most=4),
    Fault("files copied away and back", _moved_folder, most=6),
    Fault("SQLite database locked", _locked_database, {"storage": "sqlite"}, most=4),
    Fault("SQLite database deleted", _without_database, {"storage": "sqlite"}, most=6),
    Fault("SQLite database with flipped bits", _flipped_database, {"storage": "sqlite"}, most=6),
    Fault("SQLite database from a backup", _older_database, {"storage": "sqlite"}, most=6),
    Fault("PostgreSQL restarted", _restarted_server, {"storage": "postgresql"}, most=6),
    Fault("MLflow server down", _tracking_down, {"tracking": "server"}, most=6),
    Fault("MLflow server slow, wrong or gone", _bad_tracking, {"tracking": "server"}, most=6),
    Fault("record torn", _in_a_record(_torn), most=6),
    Fault("record with a torn tail of more than 64 KiB", _in_a_record(_long_tail), most=6),
    Fault("record emptied", _in_a_record(lambda *_: b""), most=6),
    Fault("record deleted", _in_a_record(lambda *_: None), {"storage": "sqlite"}, most=6),
    Fault("record with CRLF", _in_a_record(lambda data, _: data.replace(b"\n", b"\r\n")), most=6),
    Fault("record with a page of NULs", _in_a_record(_nul_page), most=6),
    Fault("record with a flipped bit", _in_a_record(_one_bit), most=6),
    Fault("record with a line lost", _in_a_record(_line_lost), most=6),
    Fault("checkpoint damaged", _damaged_checkpoint, {"app": "hrm"}, most=6),
    Fault("clock set", _clock_jump, most=8),
    _on_ray("SIGKILL of a trial's process", _killing_in_cluster(WORKER)),
    _on_ray("SIGKILL of a task", _killing_in_cluster(TASK)),
    _on_ray("SIGKILL of the mailboxes", _killing_in_cluster(MAILBOXES)),
    _on_ray("loss of a node", _lost_node),
    _on_ray("SIGKILL of the sweep", _signalling(signal.SIGKILL, "")),
    _on_ray("SIGINT of the group (Ctrl-C)", _signalling_group(signal.SIGINT)),
    _on_ray("all of these", _any_on_ray),
)
