"""Rows that are never idle: a row whose puzzle is finished takes the next one of the epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from hrm_sweep.hrm.data.task import Task
from hrm_sweep.hrm.training.batching import FIELDS, Rows, count_real
from hrm_sweep.hrm.training.losses import Losses, Score
from hrm_sweep.hrm.training.metrics import Sums

DRAWN_AT_ONCE = 512
"""Puzzles drawn ahead; drawing one by one would cost more than it saves."""


class Stream(Rows):
    """The puzzles that are being thought about, through all epochs.

    Every puzzle of an epoch is drawn once, and how many segments it gets is the model's choice. An
    epoch ends when a row is free and no puzzle is left; the other rows stay as they are, and the
    next epoch fills the free ones. So batches are full but at one time: when a task has fewer
    puzzles an epoch than there are rows, the free rows are padding. Padding is not learnt from.
    """

    def __init__(self, task: Task, rows: int) -> None:
        super().__init__(task, rows)
        self._ahead = self.batch

    def fill(self) -> bool:
        places = self.free.nonzero().squeeze(-1)
        for place in places.tolist():
            if self._drawn == len(self._order):
                self._clear(self.free)
                return False
            self._take_next(place)
        return True

    def minimised(self, losses: Losses) -> Tensor:
        return losses.total

    def release(self, halted: Tensor, achieved: Score) -> Tensor:
        self.free = halted | ~achieved.real
        return self.free.clone()

    def count(self, sums: Sums, losses: Losses, achieved: Score) -> None:
        """Losses of every segment; how right the answer is when a row is finished, as published."""
        count_real(sums, losses, achieved, judged=self.free)

    def _take_next(self, place: int) -> None:
        ahead = self._drawn % DRAWN_AT_ONCE
        if ahead == 0:
            indices = self._order[self._drawn : self._drawn + DRAWN_AT_ONCE]
            self._ahead = self._task.draw(indices, self._epoch)
        for name in FIELDS:
            getattr(self.batch, name)[place] = getattr(self._ahead, name)[ahead]
        self.free[place] = False
        self._drawn += 1

    def _clear(self, rows: Tensor) -> None:
        nothing = self._task.train.take(rows.new_zeros(0, dtype=torch.int64)).padded(len(rows))
        for name in FIELDS:
            getattr(self.batch, name)[rows] = getattr(nothing, name)[rows]
