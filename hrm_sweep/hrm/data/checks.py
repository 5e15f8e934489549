"""Rules that only the configs of tasks have. PyTorch is not imported."""

from __future__ import annotations

from itertools import pairwise

from hrm_sweep.errors import ConfigError

MAX_BYTES = 1_000_000_000
"""Upper bound of the size of generated inputs and labels; generating them takes three times it."""


def check_curriculum(schedule: dict[int, float] | None) -> None:
    """Raise ConfigError unless the shares rise to 1 from epoch 1 on."""
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
    """Raise ConfigError if inputs and labels of so many puzzles would take too much memory."""
    size = 2 * (num_puzzles + num_eval_puzzles) * num_tokens
    if size > MAX_BYTES:
        raise ConfigError(
            "num_puzzles",
            num_puzzles,
            f"with num_eval_puzzles={num_eval_puzzles}, {num_tokens} tokens each, would take "
            f"{size / 1e9:.0f} GB of memory",
            f"stay below {MAX_BYTES // (2 * num_tokens)} puzzles in all",
        )
