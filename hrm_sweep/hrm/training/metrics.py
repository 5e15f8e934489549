"""Metrics of an epoch: sums and counts, divided once. PyTorch is not imported."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

EVAL_METRICS = {
    "eval/loss": "mean token loss of held-out puzzles; lower is better",
    "eval/token_accuracy": "share of held-out tokens that are right",
    "eval/token_accuracy_per_puzzle": "the same, as a mean over puzzles, as published",
    "eval/exact_match": "share of held-out puzzles whose every token is right",
    "eval/mode_share": "share of the most common prediction; 1: the same token everywhere",
    "eval/phase": "1: mode_share is above 50 %; 3: exact_match is 50 % or more; 2: neither",
    "eval/segments": "mean number of segments after which the model would halt; lower is better",
}
"""Metrics that every task has, and what they are."""
TASK_METRICS = {
    "eval/validity": "share of boards without a mistake in rows, columns and boxes",
    "eval/pass_at_1": "share of test inputs whose answer with most votes is right",
    "eval/pass_at_2": "the same, of the two answers with most votes",
}
"""Metrics that some tasks have beside shares of their patterns."""


class Measurement(NamedTuple):
    """The metrics of one epoch."""

    step: int
    """The epoch, counted from 1."""
    values: dict[str, float]


class MeanMetrics:
    """Sums and counts by name, for means over rows or tokens of batches of unequal size."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._counts: defaultdict[str, float] = defaultdict(float)

    def add(self, sums: Mapping[str, float], count: float) -> None:
        """Add sums over `count` rows or tokens."""
        for name, value in sums.items():
            self._sums[name] += value
            self._counts[name] += count

    def means(self) -> dict[str, float]:
        """Return the mean of each metric; one with a count of 0 is left out."""
        return {
            name: value / self._counts[name]
            for name, value in self._sums.items()
            if self._counts[name]
        }


def lower_is_better(metric: str) -> bool:
    """Return whether lower values of an evaluation metric are better.

    They are for losses, the number of segments, and the share of the most common prediction.
    """
    return metric.endswith("loss") or metric in ("eval/segments", "eval/mode_share")
