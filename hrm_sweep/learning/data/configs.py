"""The keys of `data=…`: one class for each task. Imported at every start, so torch stays out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Optional

from hrm_sweep.errors import ConfigError

MISSING: Any = "???"
"""OmegaConf's mark for a value that the YAML file has to give."""

NUM_COLOURS = 10
PATTERNS = ("copy", "increment", "decrement", "mirror", "transpose", "recolour")
MAX_TOKENS = 1_000_000_000
"""Bytes of inputs and labels that generated puzzles may take."""


@dataclass(kw_only=True, slots=True)
class CopyIncrementConfig:
    """Grids of random colours in the corner of a canvas, changed by the rule of their pattern."""

    name: str = MISSING
    batch_size: int = MISSING
    """Puzzles of one optimiser step."""
    num_puzzles: int = MISSING
    """Training puzzles. More of them, same seed: the fewer are among them."""
    num_eval_puzzles: int = MISSING
    """Held-out puzzles, shared out evenly among the patterns; the same for any training set."""
    canvas: int = MISSING
    """Side of the square that is flattened into tokens."""
    grid: int = MISSING
    """Side of the largest grid; one row and one column of EOS follow it."""
    smallest_grid: int = MISSING
    """Side of the smallest grid; sides are drawn evenly from here to `grid`."""
    patterns: dict[str, float] = MISSING
    """Pattern -> its weight among the training puzzles; 0 leaves it out."""
    identifiers: str = MISSING
    """`per_pattern` tells the model which rule applies, `shared` makes it guess."""
    noise: float = MISSING
    """Share of the training input's cells that another colour replaces, anew each epoch."""
    curriculum: Optional[dict[int, float]] = MISSING  # noqa: UP045 - OmegaConf reads this form
    """From which epoch on which easiest share of the puzzles is seen; null: always all."""
    recolour: list[int] = MISSING
    """The table of the pattern `recolour`: what colours 0 to 9 turn into."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("num_puzzles", self.num_puzzles, 1)
        self._check_patterns()
        self._check_sizes()
        self._check_numbers()
        one_of("identifiers", self.identifiers, ("per_pattern", "shared"))
        if not 0 <= self.noise < 1:
            raise ConfigError("noise", self.noise, "must be a share from 0 up to, not with, 1")
        check_curriculum(self.curriculum)
        if len(self.recolour) != NUM_COLOURS or not set(self.recolour) <= set(range(NUM_COLOURS)):
            raise ConfigError(
                "recolour", self.recolour, f"must give each of the {NUM_COLOURS} colours one of 0-9"
            )

    @property
    def active_patterns(self) -> tuple[str, ...]:
        """The patterns with a weight, in the order of their identifiers."""
        return tuple(name for name in PATTERNS if self.patterns.get(name, 0) > 0)

    def metric_names(self) -> list[str]:
        """What this task adds to the evaluation's metrics."""
        return per_pattern_metrics(self.active_patterns)

    def _check_patterns(self) -> None:
        for name, weight in self.patterns.items():
            one_of(f"patterns.{name}", name, PATTERNS, shown=weight)
            if not (weight >= 0 and math.isfinite(weight)):
                raise ConfigError(
                    f"patterns.{name}",
                    weight,
                    "a weight must be a number from 0 up",
                    "0 leaves it out",
                )
        if not self.active_patterns:
            raise ConfigError(
                "patterns", dict(self.patterns), "no pattern has a weight", "try patterns.copy=1"
            )

    def _check_sizes(self) -> None:
        at_least("grid", self.grid, 1)
        if not 1 <= self.smallest_grid <= self.grid:
            raise ConfigError(
                "smallest_grid", self.smallest_grid, f"must be from 1 to grid={self.grid}"
            )
        if self.canvas <= self.grid:
            raise ConfigError(
                "canvas",
                self.canvas,
                f"too small for grid={self.grid} and the end marks after it",
                f"try canvas={self.grid + 1} or grid={self.canvas - 1}",
            )

    def _check_numbers(self) -> None:
        active = self.active_patterns
        if self.num_eval_puzzles < len(active):
            raise ConfigError(
                "num_eval_puzzles",
                self.num_eval_puzzles,
                f"must hold out at least one puzzle of each of the {len(active)} patterns",
            )
        existing = sum(
            NUM_COLOURS ** (side * side) for side in range(self.smallest_grid, self.grid + 1)
        )
        held_out = apportion(self.num_eval_puzzles, [1.0] * len(active))
        wanted = apportion(self.num_puzzles, [self.patterns[name] for name in active])
        for name, train, test in zip(active, wanted, held_out, strict=True):
            if train + test > existing:
                raise ConfigError(
                    "num_puzzles",
                    self.num_puzzles,
                    f"with num_eval_puzzles={self.num_eval_puzzles} asks for {train + test} "
                    f"puzzles of the pattern {name}, but only {existing} exist",
                    "use fewer puzzles or a larger grid",
                )
        tokens = 2 * (self.num_puzzles + self.num_eval_puzzles) * self.canvas**2
        if tokens > MAX_TOKENS:
            raise ConfigError(
                "num_puzzles",
                self.num_puzzles,
                f"would take {tokens / 1e9:.0f} GB of memory on canvas={self.canvas}",
                f"stay below {MAX_TOKENS // (2 * self.canvas**2)} puzzles in all",
            )


def apportion(total: int, weights: list[float]) -> list[int]:
    """Whole shares of `total` by weight, the largest remainders rounded up, earlier ones first."""
    exact = [total * weight / sum(weights) for weight in weights]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def per_pattern_metrics(patterns: Iterable[str]) -> list[str]:
    """The names of the metrics that exist for each pattern."""
    return [
        f"eval/{kind}/{name}" for kind in ("exact_match", "token_accuracy") for name in patterns
    ]


def at_least(key: str, value: int, lowest: int) -> None:
    """Raises ConfigError unless `value` >= `lowest`."""
    if value < lowest:
        raise ConfigError(key, value, f"must be at least {lowest}", f"try {key}={lowest}")


def one_of(key: str, value: str, choices: tuple[str, ...], *, shown: object = None) -> None:
    """Raises ConfigError unless `value` is one of `choices`; `shown` is what the user typed."""
    if value not in choices:
        close = difflib.get_close_matches(value, choices, n=1)
        raise ConfigError(
            key,
            value if shown is None else shown,
            f"must be one of {', '.join(choices)}" if shown is None else "no pattern of that name",
            f"did you mean {close[0]}?" if close else f"there are {', '.join(choices)}",
        )


def check_curriculum(schedule: dict[int, float] | None) -> None:
    """Raises ConfigError unless the shares rise to 1 from epoch 1 on."""
    if schedule is None:
        return
    shares = [schedule[epoch] for epoch in sorted(schedule)]
    rises = all(a < b for a, b in pairwise(shares))
    if not shares or min(schedule) != 1 or not rises or not shares[0] > 0 or shares[-1] != 1:
        raise ConfigError(
            "curriculum",
            schedule,
            "must name epoch 1 and shares above 0 that rise to 1",
            "write curriculum={1: 0.25, 5: 0.5, 10: 1.0}, or null for all puzzles from the start",
        )
