"""What a model learns from: puzzles, drawn in batches, and how to read them.

Sizes: B rows of a batch, N puzzles, T tokens of a puzzle. Token 0 is PAD in every task, identifier
0 belongs to padding rows, and `IGNORE` marks the labels that nobody scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hrm_sweep.hrm.data.chance import Chance

IGNORE = -100
"""Label of a position that counts for nothing: no loss, no accuracy."""
PAD = 0
"""Token outside the puzzle."""
FIRST_COLOUR = 2
"""The token of colour (or digit) number 0; 0 is PAD, 1 is EOS or an empty cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows as a model takes them; every tensor is int64."""

    inputs: Tensor
    """[B, T], tokens from 0 to vocab_size - 1."""
    labels: Tensor
    """[B, T], tokens, or IGNORE."""
    identifiers: Tensor
    """[B], from 0 (padding) to num_identifiers - 1."""
    patterns: Tensor
    """[B], positions in `Task.patterns`; 0 for padding rows, where nothing is scored anyway."""

    def __len__(self) -> int:
        return len(self.inputs)

    def padded(self, rows: int) -> Batch:
        """The batch filled up to `rows` rows with nothing: PAD, identifier 0, all labels IGNORE."""
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
    """A set of puzzles, kept in as narrow integers as it came (int8 if ours, mapped if on disk)."""

    inputs: Tensor
    """[N, T]."""
    labels: Tensor
    """[N, T]."""
    identifiers: Tensor
    """[N]."""
    patterns: Tensor
    """[N]."""
    ignore: int | None = IGNORE
    """The stored label that is not scored; `take` turns it into IGNORE. None: all are scored."""

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Tensor) -> Batch:
        """The puzzles at `indices` [B], in that order."""
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
        """Every puzzle in one batch."""
        return self.take(torch.arange(len(self)))


class Task:
    """A training set, a held-out set, and what belongs to them. Subclasses change `order`, `draw`.

    `order` and `draw` are pure functions of (seed, epoch, index): a resumed run asks again and
    gets the same, so no state of the data goes into a checkpoint. Epochs count from 1.
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
        """Names for metrics: `eval/exact_match/<pattern>`; a batch's `patterns` point in here."""
        self.vocab_size = vocab_size
        self.num_identifiers = num_identifiers
        """Rows of the embedding table: the padding's (0) and one for each identifier."""
        self.shape = shape
        """Rows and columns of a picture; their product is `seq_len`."""
        self.seed = seed

    @property
    def seq_len(self) -> int:
        return self.shape[0] * self.shape[1]

    def order(self, epoch: int) -> Tensor:
        """Indices (int64) of the training puzzles of this epoch, shuffled, none of them twice."""
        return torch.from_numpy(Chance(self.seed, epoch, "order").permutation(len(self.train)))

    def draw(self, indices: Tensor, epoch: int) -> Batch:  # noqa: ARG002 - subclasses use the epoch
        """The training puzzles at `indices` [B] as this epoch shows them (noise, symmetries)."""
        return self.train.take(indices)

    def batches(self, epoch: int, rows: int) -> Iterator[Batch]:
        """The epoch in whole batches of `rows` rows, the last one filled up with padding rows.

        So the published loader does it; where rows take their next puzzle one by one, `order` and
        `draw` are enough.
        """
        for indices in self.order(epoch).split(rows):
            yield self.draw(indices, epoch).padded(rows)

    def extra_metrics(self, inputs: Tensor, predictions: Tensor) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Further figures of each row, float32 [B] in 0..1, by name; both arguments are [B, T].

        The evaluator averages them over the rows that have something to score and logs
        `eval/<name>`. The names do not depend on the arguments.
        """
        return {}

    def picture(self, tokens: Tensor) -> np.ndarray:
        """One puzzle's tokens [T] (inputs, labels or predictions) as a grid of `shape` (int64).

        Colours and digits count from 0; -1 is an empty or EOS cell, -2 is outside (PAD, IGNORE).
        """
        return tokens.long().clamp(min=PAD).reshape(self.shape).numpy() - FIRST_COLOUR

    def describe(self) -> dict[str, Any]:
        """Name, sizes and a digest of all contents, for the tracker's list of data sets."""
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
    """An array of tokens or labels as an int8 tensor, which holds IGNORE and 127 tokens."""
    return torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int8))
