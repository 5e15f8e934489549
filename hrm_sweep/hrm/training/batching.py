"""The rows of a batch through a whole training: where puzzles come in, and what is counted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hrm_sweep.hrm.data.task import Batch, Task
from hrm_sweep.hrm.training.losses import Losses, Score
from hrm_sweep.hrm.training.metrics import Sums

FIELDS = ("inputs", "labels", "identifiers", "patterns")


class Rows:
    """Which puzzle stands in which row. `Stream` and `Batches` say how rows are filled and judged.

    For each epoch: `start`, then `fill` before and `release` and `count` after each segment, until
    `fill` says that the epoch is over. A row keeps its puzzle until the model halts.
    """

    def __init__(self, task: Task, rows: int) -> None:
        self._task = task
        self.batch = task.train.take(torch.zeros(0, dtype=torch.int64)).padded(rows)
        self.free = torch.ones(rows, dtype=torch.bool)
        """[rows], which hold no puzzle, or a finished one."""
        self._epoch, self._order = 0, torch.zeros(0, dtype=torch.int64)
        self._drawn = 0

    def start(self, epoch: int) -> None:
        """Turns to the puzzles of `epoch`, counted from 1."""
        self._epoch, self._order, self._drawn = epoch, self._task.order(epoch), 0

    @property
    def drawn(self) -> int:
        """Puzzles of this epoch that have been drawn."""
        return self._drawn

    @property
    def share_drawn(self) -> float:
        """Of this epoch's puzzles, 0 to 1."""
        return self._drawn / len(self._order)

    def fill(self) -> bool:
        """Gives free rows the next puzzles; whether the epoch goes on."""
        raise NotImplementedError

    def minimised(self, losses: Losses) -> Tensor:
        """[rows], what a step of the optimizer makes smaller."""
        raise NotImplementedError

    def release(self, halted: Tensor, achieved: Score) -> Tensor:
        """Marks the rows, bool [rows], that are free after a segment, and returns them."""
        raise NotImplementedError

    def count(self, sums: Sums, losses: Losses, achieved: Score) -> None:
        """Adds what this segment showed, after `release`."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What is under way between two epochs, as tensors."""
        tensors = {name: getattr(self.batch, name).clone() for name in FIELDS}
        return {**tensors, "free": self.free.clone()}

    def load_state(self, state: dict[str, Any]) -> None:
        tensors = {name: tensor.clone() for name, tensor in state.items()}
        self.free = tensors.pop("free")
        self.batch = Batch(**tensors)


def count_real(sums: Sums, losses: Losses, achieved: Score, judged: Tensor) -> None:
    """Adds the losses of every real row, and how right the answers of the `judged` ones are."""
    judged = judged & achieved.real
    figures = [
        *(losses.total, losses.lm, losses.q_halt, achieved.real),
        *(achieved.right * judged, achieved.tokens * judged, achieved.exact & judged, judged),
    ]
    summed = torch.stack(figures).detach().sum(dim=-1)
    total, lm, q_halt, real, right, tokens, exact, rows = summed.tolist()
    sums.add({"train/loss": total, "train/lm_loss": lm, "train/q_halt_loss": q_halt}, real)
    sums.add({"train/token_accuracy": right}, tokens)
    sums.add({"train/exact_match": exact}, rows)
