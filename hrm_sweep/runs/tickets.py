"""Tickets: files in a study's folder for the jobs that wait in, or run from, a cluster's queue.

Such a job outlives the sweep that submitted it. By its ticket a later sweep knows that there may be
a job, and a job that starts knows whether its trial is still its own: to claim a ticket is to
rename it, which one process can do once. Who runs a trial otherwise revokes its ticket before.
"""

from __future__ import annotations

import json
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from hrm_sweep.runs import layout
from hrm_sweep.system import files

WAITING, CLAIMED = "waiting", "claimed"


class Ticket(NamedTuple):
    """Ticket of one job."""

    number: int
    """Of the trial."""
    token: str
    """Unique: a trial has another one for each attempt."""
    is_claimed: bool = False
    """Whether the job has begun."""


class Adopted(NamedTuple):
    """Job of an earlier sweep that its launcher follows again."""

    future: Future[Any]
    """As that of `Slots.submit`; raises `Interrupted` if it is unknown how the job ended."""
    has_begun: bool
    """Whether the trial's record has entries of it; otherwise it waits to begin, or is gone."""


class Tickets:
    """Tickets of a study.

    Args:
        study: the study's folder, which the nodes share.
    """

    def __init__(self, study: Path) -> None:
        self.folder = study.absolute() / layout.JOBS

    def issue(self, number: int, overrides: list[str]) -> Ticket:
        """Write the ticket of a trial's next job, in the place of those before."""
        files.make_folder(self.folder)
        self.revoke(number)
        ticket = Ticket(number, uuid.uuid4().hex[:12])
        files.write_text(self._path(ticket, WAITING), json.dumps(overrides))
        return ticket

    def find(self, number: int) -> Ticket | None:
        """Return the ticket of a trial; None: it has none."""
        for state in (CLAIMED, WAITING):
            for path in self.folder.glob(f"{number}.*.{state}"):
                return Ticket(number, path.name.split(".")[1], state == CLAIMED)
        return None

    def claim(self, ticket: Ticket) -> list[str] | None:
        """Begin the job of a ticket, and return its overrides; None: it is not wanted any more."""
        waiting = self._path(ticket, WAITING)
        try:
            overrides: list[str] = json.loads(waiting.read_text(encoding="utf-8"))
            waiting.rename(self._path(ticket, CLAIMED))
        except FileNotFoundError:
            return None
        return overrides

    def withdraw(self, ticket: Ticket) -> bool:
        """Let the job of a ticket not begin; return False if it has begun."""
        try:
            self._path(ticket, WAITING).unlink()
        except FileNotFoundError:
            return False
        return True

    def revoke(self, number: int) -> None:
        """Let no job begin a trial: it has ended, or is run otherwise."""
        for path in self.folder.glob(f"{number}.*"):
            path.unlink(missing_ok=True)

    def _path(self, ticket: Ticket, state: str) -> Path:
        return self.folder / f"{ticket.number}.{ticket.token}.{state}"
