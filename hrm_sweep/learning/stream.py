"""Rows that are never idle: a row whose puzzle is finished takes the next one of the epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hrm_sweep.learning.data.task import Batch, Task

DRAWN_AT_ONCE = 512
"""Puzzles drawn ahead; drawing one by one would cost more than it saves."""


class Stream:
    """The puzzles that are being thought about, `rows` of them, through all epochs.

    Every puzzle of an epoch is drawn once, and how many segments it gets is the model's choice. An
    epoch ends when a row is free and no puzzle is left; the other rows stay as they are, and the
    next epoch fills the free ones. So batches are full but at one time: when a task has fewer
    puzzles an epoch than there are rows, the free rows are padding.
    """

    def __init__(self, task: Task, rows: int) -> None:
        self._task = task
        self.batch = task.train.take(torch.zeros(0, dtype=torch.int64)).padded(rows)
        self.free = torch.ones(rows, dtype=torch.bool)
        """[rows], which hold no puzzle, or a finished one."""
        self._epoch, self._order = 0, torch.zeros(0, dtype=torch.int64)
        self._ahead, self._drawn = self.batch, 0

    def start(self, epoch: int) -> None:
        """Turns to the puzzles of `epoch`, counted from 1."""
        self._epoch, self._order, self._drawn = epoch, self._task.order(epoch), 0

    @property
    def drawn(self) -> int:
        """Puzzles of this epoch that have got a row."""
        return self._drawn

    @property
    def share_drawn(self) -> float:
        """Of this epoch's puzzles, 0 to 1."""
        return self._drawn / len(self._order)

    def fill(self) -> bool:
        """Gives free rows the next puzzles; whether no row had to stay free."""
        places = self.free.nonzero().squeeze(-1)
        for place in places.tolist():
            if self._drawn == len(self._order):
                self._clear(self.free)
                return False
            self._take_next(place)
        return True

    def release(self, rows: Tensor) -> None:
        """Marks the rows whose puzzle is finished, bool [rows]; the others hold theirs."""
        self.free = rows.clone()

    def state(self) -> dict[str, Any]:
        """What is under way between two epochs, as tensors."""
        return {
            "inputs": self.batch.inputs.clone(),
            "labels": self.batch.labels.clone(),
            "identifiers": self.batch.identifiers.clone(),
            "patterns": self.batch.patterns.clone(),
            "free": self.free.clone(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        tensors = {name: tensor.clone() for name, tensor in state.items()}
        self.free = tensors.pop("free")
        self.batch = Batch(**tensors)

    def _take_next(self, place: int) -> None:
        ahead = self._drawn % DRAWN_AT_ONCE
        if ahead == 0:
            indices = self._order[self._drawn : self._drawn + DRAWN_AT_ONCE]
            self._ahead = self._task.draw(indices, self._epoch)
        for name in ("inputs", "labels", "identifiers", "patterns"):
            getattr(self.batch, name)[place] = getattr(self._ahead, name)[ahead]
        self.free[place] = False
        self._drawn += 1

    def _clear(self, rows: Tensor) -> None:
        nothing = self._task.train.take(rows.new_zeros(0, dtype=torch.int64)).padded(len(rows))
        for name in ("inputs", "labels", "identifiers", "patterns"):
            getattr(self.batch, name)[rows] = getattr(nothing, name)[rows]
