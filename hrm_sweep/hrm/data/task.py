"""Tasks: sets of puzzles, the batches drawn from them, and how they are displayed.

Sizes: B rows of a batch, N puzzles, T tokens of a puzzle. In every task token 0 is PAD,
identifier 0 is that of padding rows, and IGNORE is the label of positions that are not scored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hrm_sweep.hrm.data.random_stream import RandomStream
from hrm_sweep.hrm.data.tokens import FIRST_COLOUR, IGNORE, PAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The input of a model and its labels; every tensor is int64."""

    inputs: Tensor
    """[B, T], tokens from 0 to vocab_size - 1."""
    labels: Tensor
    """[B, T], tokens, or IGNORE."""
    identifiers: Tensor
    """[B], from 0 (padding) to num_identifiers - 1."""
    patterns: Tensor
    """[B], indices into `Task.patterns`; 0 for padding rows."""

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Tensor) -> Batch:
        """Return the rows at `indices`, in that order."""
        return Batch(
            inputs=self.inputs[indices],
            labels=self.labels[indices],
            identifiers=self.identifiers[indices],
            patterns=self.patterns[indices],
        )

    def padded(self, rows: int) -> Batch:
        """Return the batch with padding rows up to `rows`: PAD, identifier 0, labels IGNORE."""
        missing = rows - len(self)
        if missing <= 0:
            return self
        return Batch(
            inputs=functional.pad(self.inputs, (0, 0, 0, missing), value=PAD),
            labels=functional.pad(self.labels, (0, 0, 0, missing), value=IGNORE),
            identifiers=functional.pad(self.identifiers, (0, missing)),
            patterns=functional.pad(self.patterns, (0, missing)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Puzzles:
    """A set of puzzles in its stored dtypes: int8 if generated, memory-mapped if from disk."""

    inputs: Tensor
    """[N, T]."""
    labels: Tensor
    """[N, T]."""
    identifiers: Tensor
    """[N]."""
    patterns: Tensor
    """[N]."""
    ignore: int | None = IGNORE
    """The stored label that `take` replaces by IGNORE. None: all labels are scored."""

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Tensor) -> Batch:
        """Return the puzzles at `indices` [B], in that order."""
        labels = self.labels[indices].long()
        if self.ignore not in (None, IGNORE):
            labels = labels.masked_fill(labels == self.ignore, IGNORE)
        return Batch(
            inputs=self.inputs[indices].long(),
            labels=labels,
            identifiers=self.identifiers[indices].long(),
            patterns=self.patterns[indices].long(),
        )

    def all(self) -> Batch:
        """Return all puzzles in one batch."""
        return self.take(torch.arange(len(self)))


class Answers(NamedTuple):
    """The answers to N puzzles."""

    batch: Batch
    predictions: Tensor
    """[N, T], tokens."""
    confidence: Tensor
    """[N], probability, 0 to 1, that the halting head gives an answer; 0.5 without such a head."""


class Task:
    """A training set and a held-out set. Subclasses override `order` and `draw`.

    Both are pure functions of (seed, epoch, index) and of `state`, so a resumed run draws the same
    batches. Epochs count from 1.

    Args:
        name: As in the tracker's list of data sets.
        train: Puzzles to train on.
        held_out: Puzzles to evaluate on.
        patterns: Names in the metrics `eval/exact_match/<pattern>`.
        vocab_size: Number of tokens.
        num_identifiers: Number of identifiers, with that of padding rows (0).
        shape: Rows and columns of a displayed puzzle; their product is `seq_len`.
        seed: Of the orders and draws, at least 0.
    """

    def __init__(
        self,
        name: str,
        *,
        train: Puzzles,
        held_out: Puzzles,
        patterns: tuple[str, ...],
        vocab_size: int,
        num_identifiers: int,
        shape: tuple[int, int],
        seed: int,
    ) -> None:
        self.name = name
        self.train = train
        self.eval = held_out
        self.patterns = patterns
        self.vocab_size = vocab_size
        self.num_identifiers = num_identifiers
        self.shape = shape
        self.seed = seed

    @property
    def seq_len(self) -> int:
        """Tokens of a puzzle."""
        return self.shape[0] * self.shape[1]

    def order(self, epoch: int) -> Tensor:
        """Return the indices of the epoch's training puzzles, int64, shuffled.

        None is there twice, unless the task is balanced.
        """
        return torch.from_numpy(
            RandomStream(self.seed, epoch, "order").permutation(len(self.train))
        )

    @property
    def is_balanced(self) -> bool:
        """Whether `order` depends on what `observe` got of the epochs before."""
        return False

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Take over the metrics of a trained epoch, before the next `order`."""

    def state(self) -> dict[str, Any]:
        """Return what the next `order` depends on beside seed and epoch, for a checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""

    def draw(self, indices: Tensor, epoch: int) -> Batch:  # noqa: ARG002 - subclasses use the epoch
        """Return the training puzzles at `indices` [B], with the epoch's noise and symmetries."""
        return self.train.take(indices)

    def puzzles(self, epoch: int) -> Iterator[Tensor]:
        """Yield the examples of each puzzle that the epoch draws, int64, all as in `order`."""
        yield from self.order(epoch).split(1)

    def batches(self, epoch: int, rows: int) -> Iterator[Batch]:
        """Yield the epoch in batches of `rows` rows, the last one with padding rows.

        This is the loader of the original experiment; the other policies draw for themselves.
        """
        for indices in self.order(epoch).split(rows):
            yield self.draw(indices, epoch).padded(rows)

    def extra_metrics(self, inputs: Tensor, predictions: Tensor) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Return further metrics of each row by name, float32 [B] from 0 to 1.

        Both arguments are [B, T]. The evaluation logs their means over the rows with labels as
        `eval/<name>`. The names do not depend on the arguments.
        """
        return {}

    def votes(self, answers: Answers) -> Mapping[str, float]:  # noqa: ARG002 - subclasses count them
        """Return metrics, as `eval/<name>`, of all held-out answers together."""
        return {}

    @property
    def has_submission(self) -> bool:
        """Whether the answers make a submission file."""
        return False

    def submission(self, answers: Answers) -> dict[str, Any]:
        """Return the content of the submission file, if the task has one."""
        raise NotImplementedError

    def picture(self, tokens: Tensor) -> np.ndarray:
        """Return one puzzle's tokens [T] (inputs, labels or predictions) as an int64 grid.

        Its shape is `shape`. Colours and digits count from 0; -1 is an empty or EOS cell, -2 is
        outside (PAD, IGNORE).
        """
        return tokens.long().clamp(min=PAD).reshape(self.shape).numpy() - FIRST_COLOUR

    def describe(self) -> dict[str, Any]:
        """Return name, sizes and a digest of all contents, for the tracker's list of data sets."""
        digest = hashlib.sha256()
        for puzzles in (self.train, self.eval):
            for tensor in (puzzles.inputs, puzzles.labels, puzzles.identifiers, puzzles.patterns):
                digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
                digest.update(tensor.contiguous().numpy().data)
        return {
            "name": self.name,
            "train_size": len(self.train),
            "eval_size": len(self.eval),
            "digest": digest.hexdigest()[:16],
        }


def narrow(tokens: np.ndarray) -> Tensor:
    """Return tokens or labels as an int8 tensor; tokens are at most 127, and IGNORE fits."""
    return torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int8))
