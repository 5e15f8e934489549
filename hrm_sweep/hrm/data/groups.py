"""Puzzles of several examples, in groups of puzzles: the order in which an epoch shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrm_sweep.hrm.data.chance import Chance
from hrm_sweep.hrm.data.task import Task


class GroupedTask(Task):
    """A task whose training examples belong to puzzles, and these to groups.

    Puzzle p has the examples from `puzzle_starts[p]` to before `puzzle_starts[p + 1]`, group g the
    puzzles from `group_starts[g]` to before `group_starts[g + 1]`.
    """

    def __init__(
        self,
        name: str,
        *,
        puzzle_starts: np.ndarray,
        group_starts: np.ndarray,
        sampling: str,
        **rest: Any,
    ) -> None:
        super().__init__(name, **rest)
        self._puzzle_starts, self._group_starts = puzzle_starts, group_starts
        self._sampling = sampling

    def order(self, epoch: int) -> Tensor:
        """All examples, or those of one puzzle of each group, drawn anew for every epoch."""
        if self._sampling == "all":
            return super().order(epoch)
        chance = Chance(self.seed, epoch, "groups")
        starts, sizes = self._group_starts[:-1], np.diff(self._group_starts)
        puzzles = starts + (chance.uniform(len(starts)) * sizes).astype(np.int64)
        puzzles = puzzles[chance.permutation(len(puzzles))]
        sizes = np.diff(self._puzzle_starts)[puzzles]
        # the examples of a puzzle stay together, in random order, as in the published sampler
        place = np.repeat(np.arange(len(puzzles)), sizes)
        first = np.repeat(self._puzzle_starts[puzzles] - np.cumsum(sizes) + sizes, sizes)
        examples = first + np.arange(sizes.sum())
        return torch.from_numpy(examples[np.lexsort((chance.uniform(len(examples)), place))])
