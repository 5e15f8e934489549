"""Easy puzzles first: `data.curriculum`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


class Curriculum:
    """Leaves the harder puzzles out of early epochs.

    Args:
        schedule: Epoch, from 1, -> share of the easiest puzzles of each pattern that is drawn from
            then on; None: always all.
        difficulty: Of each training puzzle, [N]; larger is harder.
        patterns: Of each puzzle, int64 [N].
    """

    def __init__(
        self, schedule: Mapping[int, float] | None, difficulty: np.ndarray, patterns: Tensor
    ) -> None:
        self._schedule = schedule
        self._ranks = ranks(difficulty, patterns.numpy())

    def allowed(self, order: Tensor, epoch: int) -> Tensor:
        """Return those puzzles of an order that are drawn in `epoch`."""
        share = self._share(epoch)
        return order if share == 1 else order[self._ranks[order] < share]

    def _share(self, epoch: int) -> float:
        if self._schedule is None:
            return 1.0
        return self._schedule[max(start for start in self._schedule if start <= max(epoch, 1))]


def ranks(difficulty: np.ndarray, patterns: np.ndarray) -> Tensor:
    """Return ranks from 0 (the easiest of a pattern) to just below 1, float64 [N]."""
    found = np.empty(len(patterns))
    for pattern in np.unique(patterns):
        members = np.flatnonzero(patterns == pattern)
        by_ease = members[np.argsort(difficulty[members], kind="stable")]
        found[by_ease] = np.arange(len(members)) / len(members)
    return torch.from_numpy(found)
