"""Tasks whose training examples belong to puzzles and groups, as in the published format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrm_sweep.hrm.data.random_stream import RandomStream
from hrm_sweep.hrm.data.task import Task


class GroupedTask(Task):
    """A task whose training examples belong to puzzles, and these to groups.

    Puzzle p has the examples `puzzle_starts[p]:puzzle_starts[p + 1]`, group g the puzzles
    `group_starts[g]:group_starts[g + 1]`.
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
        """Return all examples, or those of one random puzzle of each group, shuffled."""
        if self._sampling == "all":
            return super().order(epoch)
        return torch.cat(list(self.puzzles(epoch)))

    def puzzles(self, epoch: int) -> Iterator[Tensor]:
        """Yield the examples of one random puzzle of each group, or all, one by one."""
        if self._sampling == "all":
            yield from super().puzzles(epoch)
            return
        stream = RandomStream(self.seed, epoch, "groups")
        starts, sizes = self._group_starts[:-1], np.diff(self._group_starts)
        puzzles = starts + (stream.uniform(len(starts)) * sizes).astype(np.int64)
        puzzles = puzzles[stream.permutation(len(puzzles))]
        sizes = np.diff(self._puzzle_starts)[puzzles]
        # as in the published sampler, the examples of a puzzle stay together, in random order
        place = np.repeat(np.arange(len(puzzles)), sizes)
        first = np.repeat(self._puzzle_starts[puzzles] - np.cumsum(sizes) + sizes, sizes)
        examples = first + np.arange(sizes.sum())
        order = torch.from_numpy(examples[np.lexsort((stream.uniform(len(examples)), place))])
        yield from order.split(sizes.tolist())
