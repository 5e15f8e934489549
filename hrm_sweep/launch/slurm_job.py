"""Job of one trial on a node of Slurm: claims its ticket, runs, and leaves its result in a file.

It shares the study's folder with the driver, and needs neither the driver nor the database. Slurm
warns it before it ends it: the trial then stops at its next report, and its checkpoint is kept.
"""

from __future__ import annotations

import pickle
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from hrm_sweep.compat import spawn
from hrm_sweep.compat.submitit import TIME_IS_UP
from hrm_sweep.errors import Interrupted
from hrm_sweep.launch.worker import Runner, prepare, returned, unpacked
from hrm_sweep.runs import handle
from hrm_sweep.runs.record import has_advanced, read
from hrm_sweep.runs.tickets import Ticket, Tickets
from hrm_sweep.system import files, process

PAYLOAD = "payload.pickle"
PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from hrm_sweep.launch.slurm_job import main; "
    "main({study!r}, {number!r}, {token!r})"
)
WARNINGS = (TIME_IS_UP, "SIGTERM")


class Result(NamedTuple):
    """What a job leaves behind."""

    data: bytes
    """Pickled `JobReturn`, or RAISED and a pickled exception."""
    stopped_by: str
    """Name of the signal by which the trial was stopped; "": it was not."""
    has_advanced: bool
    """Whether it measured a step beyond those of earlier attempts."""


def command(study: Path, ticket: Ticket) -> str:
    """Return the line of the shell that runs the job of a ticket."""
    program = PROGRAM.format(
        path=sys.path, study=str(study.absolute()), number=ticket.number, token=ticket.token
    )
    return shlex.join([*spawn.interpreter(), "-u", "-c", program])


def result_file(tickets: Tickets, ticket: Ticket) -> Path:
    """Return where the result of a ticket's job appears."""
    return tickets.folder / f"{ticket.number}.{ticket.token}.result"


def read_result(path: Path) -> Result:
    """Return what a job has left."""
    return Result(*pickle.loads(path.read_bytes()))


def main(study: str, number: int, token: str) -> None:
    """Run the job of a ticket, if it is wanted still."""
    came = _catch_warnings()
    tickets, ticket = Tickets(Path(study)), Ticket(number, token)
    if (overrides := tickets.claim(ticket)) is None:
        print(f"trial {number}: is not to be run by this job any more")
        return
    preparation, payload = pickle.loads((tickets.folder / PAYLOAD).read_bytes())
    prepare(preparation)
    run = Runner(payload)
    handle.set_stop_check(lambda: bool(came))
    result = _result(run(overrides, number), came)
    with files.replacing(result_file(tickets, ticket)) as temporary:
        temporary.write_bytes(pickle.dumps(tuple(result)))


def _catch_warnings() -> list[str]:
    """Let Slurm's warnings be appended to a list."""
    came: list[str] = []

    def warn(number: int, _: FrameType | None) -> None:
        came.append(signal.Signals(number).name)

    for name in WARNINGS:
        signal.signal(signal.Signals[name], process.not_in_children(warn))
    return came


def _result(data: bytes, came: Sequence[str]) -> Result:
    answer = unpacked(data)
    if isinstance(answer, Exception):
        return Result(data, came[0] if came and isinstance(answer, Interrupted) else "", False)
    done = pickle.loads(answer)
    if not came or not isinstance(returned(done), Interrupted):
        return Result(data, "", True)
    folder = Path(done.hydra_cfg.hydra.runtime.output_dir)
    return Result(data, came[0], has_advanced(read(folder)))
