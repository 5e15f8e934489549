"""Patterns drawn by their measured difficulty: `data.balance`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrm_sweep.hrm.data.configs import apportion
from hrm_sweep.hrm.data.random_stream import RandomStream


class PatternBalance:
    """Orders in which patterns occur the more often the fewer of their puzzles are solved.

    An epoch draws as many puzzles as without it. The share of a pattern is (1 - b) of its share of
    the puzzles and b of its share of what was unsolved in the epoch before, for the strength b.

    Args:
        strength: b, above 0 to 1.
        members: Pattern of each training puzzle, [N].
        patterns: Names of the patterns.
        seed: Of the orders.
    """

    def __init__(
        self, strength: float, members: Tensor, patterns: tuple[str, ...], *, seed: int
    ) -> None:
        self._strength, self._members, self._patterns = strength, members, patterns
        self._seed = seed
        self._unsolved = dict.fromkeys(patterns, 1.0)
        """Share of each pattern's training puzzles that was not solved when last measured."""

    def order(self, order: Tensor, epoch: int) -> Tensor:
        """Return as many puzzles as a shuffled `order` has, some twice and others not at all."""
        groups = [order[self._members[order] == number] for number in range(len(self._patterns))]
        counts = apportion(len(order), self._shares([len(group) for group in groups]))
        drawn = torch.cat(
            [
                group.repeat(-(-count // max(1, len(group))))[:count]
                for group, count in zip(groups, counts, strict=True)
            ]
        )
        shuffled = RandomStream(self._seed, epoch, "balance").permutation(len(drawn))
        return drawn[torch.from_numpy(shuffled)]

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Take over the share of solved puzzles of each pattern that was trained in an epoch."""
        for pattern in self._patterns:
            if (solved := metrics.get(f"train/exact_match/{pattern}")) is not None:
                self._unsolved[pattern] = 1 - solved

    def state(self) -> dict[str, Any]:
        """Return what the next order depends on."""
        return {"unsolved": dict(self._unsolved)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self._unsolved = dict(state["unsolved"])

    def _shares(self, sizes: list[int]) -> list[float]:
        base = np.array(sizes) / sum(sizes)
        wanted = np.array([self._unsolved[name] for name in self._patterns]) * (base > 0)
        if not wanted.any():  # all is solved
            return base.tolist()
        return ((1 - self._strength) * base + self._strength * wanted / wanted.sum()).tolist()
