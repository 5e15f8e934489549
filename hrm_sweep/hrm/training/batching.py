"""The rows of the training batch: which puzzle each holds, and which metrics its segments add to.

`trainer.batches` is one of three policies: continuous batching (`stream`), the loader of the
published code (`published`), and that of the experiment which this project began with (`padded`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, repeat
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hrm_sweep.hrm.data.task import Batch, Task
from hrm_sweep.hrm.training.losses import Losses, Score
from hrm_sweep.hrm.training.metrics import MeanMetrics

FIELDS = ("inputs", "labels", "identifiers", "patterns")
PREFETCHED = 512
"""Puzzles drawn ahead in one call, as drawing them one by one would take longer than it saves."""


class BatchSlots:
    """The rows of the training batch. A row keeps its puzzle until the model halts.

    The order of calls in an epoch: `start`, then for each segment `fill`, `release` and
    `add_metrics`, until `fill` returns False.
    """

    trains_unfilled = False
    """Whether an epoch whose first `fill` finds too few puzzles has a segment all the same."""

    def __init__(self, task: Task, rows: int) -> None:
        self._task = task
        self.batch = task.train.take(torch.zeros(0, dtype=torch.int64)).padded(rows)
        self.free = torch.ones(rows, dtype=torch.bool)
        """[rows], whether a row holds no puzzle or a finished one."""
        self.num_drawn = 0
        """Puzzles of this epoch that have been drawn."""
        self._epoch, self._order = 0, torch.zeros(0, dtype=torch.int64)

    def start(self, epoch: int) -> None:
        """Begin `epoch`, counted from 1; rows in use keep their puzzles."""
        self._epoch, self._order, self.num_drawn = epoch, self._task.order(epoch), 0

    @property
    def share_drawn(self) -> float:
        """Share of this epoch's puzzles that have been drawn, 0 to 1."""
        return self.num_drawn / len(self._order)

    def fill(self) -> bool:
        """Put the next puzzles into free rows; return False when the epoch is over."""
        raise NotImplementedError

    def training_loss(self, losses: Losses) -> Tensor:
        """Return the losses [rows] whose sum an optimizer step minimizes."""
        raise NotImplementedError

    def release(self, halted: Tensor, score: Score) -> Tensor:
        """Mark the rows that are free after a segment, given those that halted, bool [rows].

        Returns:
            The rows that start their next segment with initial states, bool [rows].
        """
        raise NotImplementedError

    def add_metrics(self, metrics: MeanMetrics, losses: Losses, score: Score) -> None:
        """Add the losses and the accuracy of a segment, after `release`."""
        raise NotImplementedError

    @property
    def row_patterns(self) -> list[str] | None:
        """The pattern of each row, for metrics of each; None unless the task is balanced."""
        if not self._task.is_balanced:
            return None
        return [self._task.patterns[number] for number in self.batch.patterns.tolist()]

    def state(self) -> dict[str, Any]:
        """Return a copy of the rows between two epochs, for a checkpoint."""
        tensors = {name: getattr(self.batch, name).clone() for name in FIELDS}
        return {**tensors, "free": self.free.clone()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the rows from what `state` returned."""
        tensors = {name: tensor.clone() for name, tensor in state.items()}
        self.free = tensors.pop("free")
        self.batch = Batch(**tensors)


class ContinuousBatching(BatchSlots):
    """Rows that are never idle: one whose puzzle is finished takes the next puzzle of the epoch.

    Every puzzle of an epoch is drawn once; the model decides how many segments it gets. An epoch
    ends when a row is free and no puzzle is left; the other rows keep theirs, and the next epoch
    fills the free ones. Rows are padding only where an epoch has fewer puzzles than the batch has
    rows, and nothing is learned from padding.
    """

    trains_unfilled = True

    def __init__(self, task: Task, rows: int) -> None:
        super().__init__(task, rows)
        self._prefetched = self.batch

    def fill(self) -> bool:
        """Put one puzzle into every free row, or clear the free rows if too few are left."""
        for row in self.free.nonzero().squeeze(-1).tolist():
            if self.num_drawn == len(self._order):
                self._clear(self.free)
                return False
            self._take_next(row)
        return True

    def training_loss(self, losses: Losses) -> Tensor:
        """Return the total losses [rows], 0 for padding rows."""
        return losses.total

    def release(self, halted: Tensor, score: Score) -> Tensor:
        """Free halted rows and padding rows."""
        self.free = halted | ~score.has_labels
        return self.free.clone()

    def add_metrics(self, metrics: MeanMetrics, losses: Losses, score: Score) -> None:
        """Add the losses of every segment, and the accuracy of finished rows, as published."""
        _add_train_metrics(metrics, losses, score, judged=self.free, patterns=self.row_patterns)

    def _take_next(self, row: int) -> None:
        offset = self.num_drawn % PREFETCHED
        if offset == 0:
            indices = self._order[self.num_drawn : self.num_drawn + PREFETCHED]
            self._prefetched = self._task.draw(indices, self._epoch)
        for name in FIELDS:
            getattr(self.batch, name)[row] = getattr(self._prefetched, name)[offset]
        self.free[row] = False
        self.num_drawn += 1

    def _clear(self, rows: Tensor) -> None:
        empty = self._task.train.take(rows.new_zeros(0, dtype=torch.int64)).padded(len(rows))
        for name in FIELDS:
            getattr(self.batch, name)[rows] = getattr(empty, name)[rows]


class LoaderBatching(BatchSlots):
    """One segment for each batch of a loader; subclasses say which batches an epoch has.

    As in the published `pretrain.py` the carry is kept from batch to batch: a row that has not
    halted keeps its puzzle, and the puzzle in its place in the new batch is skipped.
    """

    def __init__(self, task: Task, rows: int) -> None:
        super().__init__(task, rows)
        self._batches: Iterator[Batch] = iter(())

    def loader(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 1."""
        raise NotImplementedError

    def start(self, epoch: int) -> None:
        """Begin `epoch`, counted from 1, with the first batch of the loader."""
        super().start(epoch)
        self._batches = self.loader(epoch)

    def fill(self) -> bool:
        """Put the next batch's puzzles into the free rows; return False when there is no batch."""
        batch = next(self._batches, None)
        if batch is None:
            return False
        for name in FIELDS:
            getattr(self.batch, name)[self.free] = getattr(batch, name)[self.free]
        self.num_drawn = min(self.num_drawn + len(batch), len(self._order))
        return True

    def release(self, halted: Tensor, score: Score) -> Tensor:  # noqa: ARG002 - padding stays
        """Free halted rows."""
        self.free = halted.clone()
        return halted


class PublishedBatching(LoaderBatching):
    """The published loader, which has no padding rows in training.

    Its batches run on from epoch to epoch until the next evaluation; one counts to the epoch that
    completes it, and what then is left of an incomplete one is dropped. A puzzle's examples that
    no longer fit into a batch are dropped, too. An epoch may therefore have no batch.

    Args:
        task: What is trained on.
        rows: Rows of a batch.
        interval: Epochs between two evaluations.
    """

    def __init__(self, task: Task, rows: int, *, interval: int) -> None:
        super().__init__(task, rows)
        self._interval = interval

    def loader(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches that `epoch` completes."""
        first = (epoch - 1) // self._interval * self._interval + 1
        parts: list[tuple[int, Tensor]] = []
        missing = len(self.free)
        for number in range(first, epoch + 1):
            for drawn in self._task.puzzles(number):
                parts.append((number, drawn[:missing]))
                missing -= len(parts[-1][1])
                if missing:
                    continue
                if number == epoch:
                    yield self._drawn(parts)
                parts, missing = [], len(self.free)

    def training_loss(self, losses: Losses) -> Tensor:
        """Return the total losses [rows]."""
        return losses.total

    def add_metrics(self, metrics: MeanMetrics, losses: Losses, score: Score) -> None:
        """Add the losses of every segment, and the accuracy of finished rows, as published."""
        _add_train_metrics(metrics, losses, score, judged=self.free, patterns=self.row_patterns)

    def _drawn(self, parts: list[tuple[int, Tensor]]) -> Batch:
        """Return the examples of one batch, each as the epoch that drew it shows it."""
        by_epoch = groupby(parts, key=itemgetter(0))
        drawn = [
            self._task.draw(torch.cat([indices for _, indices in group]), epoch)
            for epoch, group in by_epoch
        ]
        return Batch(**{name: torch.cat([getattr(b, name) for b in drawn]) for name in FIELDS})


class PaddedBatching(LoaderBatching):
    """The loop of the original experiment: every epoch's last batch is filled up with padding rows.

    A padding row is trained like any other; its halting head learns that it is solved. There are
    two sets of metrics: `train/…` of the rows with labels, and `reported/…` of all rows, a padding
    row counted as solved and its halting loss included. Answers are scored after every segment, as
    an epoch of few batches may pass without any row having halted.
    """

    def loader(self, epoch: int) -> Iterator[Batch]:
        """Yield all puzzles of `epoch`."""
        return self._task.batches(epoch, len(self.free))

    def training_loss(self, losses: Losses) -> Tensor:
        """Return the total losses [rows], padding rows included."""
        return losses.total + losses.padding

    def add_metrics(self, metrics: MeanMetrics, losses: Losses, score: Score) -> None:
        """Add both sets of metrics, with the accuracy of every row."""
        _add_train_metrics(
            metrics,
            losses,
            score,
            judged=torch.ones_like(self.free),
            patterns=self.row_patterns,
        )
        loss, padding, correct, tokens, solved = torch.stack(
            [
                self.training_loss(losses).detach().sum(),
                losses.padding.detach().sum(),
                score.correct.sum(),
                score.tokens.sum(),
                (score.correct == score.tokens).sum(),
            ]
        ).tolist()
        metrics.add({"reported/loss": loss}, 1)  # as reported: a batch's loss is a sum over rows
        metrics.add({"reported/token_accuracy": correct}, tokens)
        metrics.add({"reported/exact_match": solved}, len(self.free))
        metrics.add({"reported/padding_share_of_loss": padding}, loss)


def _add_train_metrics(
    metrics: MeanMetrics,
    losses: Losses,
    score: Score,
    *,
    judged: Tensor,
    patterns: list[str] | None,
) -> None:
    """Add the losses of every row with labels, and the accuracy of the `judged` ones of them.

    With `patterns`, of each row, also how many of each pattern were solved.
    """
    tensors = [losses.total, losses.lm, losses.q_halt, score.correct, score.tokens, judged]
    columns = [column.tolist() for column in tensors]
    rows = zip(*columns, patterns or repeat(""), strict=patterns is not None)  # a batch has few
    labelled = [_Row(*row) for row in rows if row[4]]
    finished = [row for row in labelled if row.judged]
    of_loss = {
        "train/loss": sum(row.total for row in labelled),
        "train/lm_loss": sum(row.lm for row in labelled),
        "train/q_halt_loss": sum(row.q_halt for row in labelled),
    }
    metrics.add(of_loss, len(labelled))
    correct = sum(row.correct for row in finished)
    metrics.add({"train/token_accuracy": correct}, sum(row.tokens for row in finished))
    per_puzzle = {
        "train/exact_match": sum(row.correct == row.tokens for row in finished),
        "train/token_accuracy_per_puzzle": sum(row.correct / row.tokens for row in finished),
    }
    metrics.add(per_puzzle, len(finished))
    for row in finished if patterns else ():
        metrics.add({f"train/exact_match/{row.pattern}": row.correct == row.tokens}, 1)


class _Row(NamedTuple):
    """Losses and counts of one row of a batch."""

    total: float
    lm: float
    q_halt: float
    correct: float
    tokens: float
    judged: bool
    pattern: str
