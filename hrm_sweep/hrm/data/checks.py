"""Rules that several configs of the learning half share. Torch stays out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from hrm_sweep.errors import ConfigError

MISSING: Any = "???"
"""OmegaConf's mark for a value that the YAML file has to give."""

MAX_BYTES = 1_000_000_000
"""What generated inputs and labels may take; making them takes three times as much."""


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


def check_memory(num_puzzles: int, num_eval_puzzles: int, num_tokens: int) -> None:
    """Raises ConfigError where inputs and labels of so many puzzles would not fit into memory."""
    size = 2 * (num_puzzles + num_eval_puzzles) * num_tokens
    if size > MAX_BYTES:
        raise ConfigError(
            "num_puzzles",
            num_puzzles,
            f"with num_eval_puzzles={num_eval_puzzles}, {num_tokens} tokens each, would take "
            f"{size / 1e9:.0f} GB of memory",
            f"stay below {MAX_BYTES // (2 * num_tokens)} puzzles in all",
        )
