"""Retries while the database of a study does not answer: continue without it, and try again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hrm_sweep.errors import DatabaseAway

PATIENCE_SECONDS = 300.0
"""How long a study that has nothing else left to do waits for its database."""
SECONDS_BETWEEN_TRIES = 2.0


class RetryPolicy:
    """Patience with a database: asks it, unless it has just failed to answer.

    Args:
        times_of_a_try: a try that takes long is repeated after so many times that long.
    """

    def __init__(
        self, times_of_a_try: int = 1, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._times_of_a_try = times_of_a_try
        self.trouble: DatabaseAway | None = None
        """None while it answers."""
        self._try_at = 0.0
        self._idle_since: float | None = None

    @property
    def has_time(self) -> bool:
        """False if it is too early to try again."""
        return self._monotonic() >= self._try_at

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Leave the block when the database does not answer, and remember it."""
        began = self._monotonic()
        try:
            yield
        except DatabaseAway as trouble:
            self.trouble, ended = _first(trouble), self._monotonic()
            self._try_at = ended + max(
                SECONDS_BETWEEN_TRIES, self._times_of_a_try * (ended - began)
            )
        else:
            self.trouble, self._idle_since = None, None

    def wait(self) -> None:
        """Note a turn in which nothing else is left to do.

        Raises:
            DatabaseAway: for too long.
        """
        if self.trouble is None:
            return
        now = self._monotonic()
        if self._idle_since is None:
            self._idle_since = now
        if now - self._idle_since > PATIENCE_SECONDS:
            raise self.trouble


def _first(trouble: DatabaseAway) -> DatabaseAway:
    """Return the failure from which others followed, as a rollback may fail too."""
    error: BaseException | None = trouble
    while error is not None:
        trouble = error if isinstance(error, DatabaseAway) else trouble
        error = error.__cause__ or error.__context__
    return trouble
