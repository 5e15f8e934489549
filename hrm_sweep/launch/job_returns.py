"""What the jobs of a sweep returned, in the form in which Hydra's sweepers give it back."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any


class PackedFuture(Future[Any]):
    """Future that unpickles its result when it is read.

    A study keeps thousands of them, and each result holds two trees of configs.
    """

    def result(self, timeout: float | None = None) -> Any:
        """Return the unpickled result."""
        return pickle.loads(super().result(timeout))


class Batch(Sequence[Any]):
    """Returns of several jobs, each unpacked when it is read."""

    def __init__(self, jobs: Sequence[Future[Any]]) -> None:
        self._jobs = jobs

    def __len__(self) -> int:
        return len(self._jobs)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Batch(self._jobs[index])
        return self._jobs[index].result()


def in_batches(jobs: Mapping[int, Future[Any]], size: int | None) -> list[Batch]:
    """Return the jobs' returns by job number, in batches of `size`; None: all in one."""
    ordered = [jobs[number] for number in sorted(jobs)]
    size = size or max(1, len(ordered))
    return [Batch(ordered[first : first + size]) for first in range(0, len(ordered), size)]


def raise_failure(batches: Sequence[Batch]) -> None:
    """Raise the first exception of a task, as Hydra's own sweeper does; return if there is none."""
    for batch in batches:
        for job in batch:
            _ = job.return_value
