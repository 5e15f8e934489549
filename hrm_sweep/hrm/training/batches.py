"""Rows as in the published loop: a whole batch of the loader for every segment."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hrm_sweep.hrm.data.task import Batch, Task
from hrm_sweep.hrm.training.batching import FIELDS, Rows, count_real
from hrm_sweep.hrm.training.losses import Losses, Score
from hrm_sweep.hrm.training.metrics import Sums


class Batches(Rows):
    """One segment for each batch of the loader, its last one filled up with padding rows.

    As in the published `pretrain.py` the carry goes on from batch to batch: a row that has not
    halted keeps its puzzle, and what the new batch has in its place is not seen. A padding row is
    a row like any other; its halting head learns that it is solved.

    Everything is counted twice: `train/…` has the rows with something to score, `reported/…` all
    of them, a padding row as solved and its halting loss included. Answers are judged after every
    segment, as an epoch of few batches may pass without any row having halted.
    """

    def __init__(self, task: Task, rows: int) -> None:
        super().__init__(task, rows)
        self._coming: Iterator[Batch] = iter(())

    def start(self, epoch: int) -> None:
        super().start(epoch)
        self._coming = self._task.batches(epoch, len(self.free))

    def fill(self) -> bool:
        batch = next(self._coming, None)
        if batch is None:
            return False
        for name in FIELDS:
            getattr(self.batch, name)[self.free] = getattr(batch, name)[self.free]
        self._drawn = min(self._drawn + len(batch), len(self._order))
        return True

    def minimised(self, losses: Losses) -> Tensor:
        return losses.total + losses.padding

    def release(self, halted: Tensor, achieved: Score) -> Tensor:  # noqa: ARG002 - padding stays
        self.free = halted.clone()
        return halted

    def count(self, sums: Sums, losses: Losses, achieved: Score) -> None:
        count_real(sums, losses, achieved, judged=torch.ones_like(self.free))
        loss, padding, right, tokens, solved = torch.stack(
            [
                self.minimised(losses).detach().sum(),
                losses.padding.detach().sum(),
                achieved.right.sum(),
                achieved.tokens.sum(),
                (achieved.right == achieved.tokens).sum(),
            ]
        ).tolist()
        sums.add({"reported/loss": loss}, 1)  # published: a batch's loss is the sum of its rows'
        sums.add({"reported/token_accuracy": right}, tokens)
        sums.add({"reported/exact_match": solved}, len(self.free))
        sums.add({"reported/padding_share_of_loss": padding}, loss)
