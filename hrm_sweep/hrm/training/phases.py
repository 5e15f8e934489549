"""The phase of a training that an evaluation finds it in. PyTorch is not imported."""

from __future__ import annotations

from collections.abc import Mapping

PHASES = ("mode value", "pattern recognition", "specialization")
"""Phase 1: most predictions are one and the same token. Phase 3: most puzzles are solved. Phase 2:
neither."""
MOST = 0.5
"""The share above which `eval/mode_share` makes phase 1, and from which `eval/exact_match` makes
phase 3."""
RULES = (f"one token > {MOST:.0%}", "in between", f"solved ≥ {MOST:.0%}")
"""What makes each phase, short enough for a legend."""


def phase_of(values: Mapping[str, float]) -> int:
    """Return the number of the phase, 1 to 3, that the metrics of an evaluation show."""
    if values["eval/exact_match"] >= MOST:
        return 3
    return 1 if values["eval/mode_share"] > MOST else 2


def phase_name(number: float) -> str:
    """Return the name of a phase from its number."""
    return PHASES[int(number) - 1]


def phase_label(number: float) -> str:
    """Return the name of a phase from its number, with what makes it."""
    return f"{phase_name(number)} ({RULES[int(number) - 1]})"
