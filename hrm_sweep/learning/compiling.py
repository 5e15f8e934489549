"""`trainer.compile`: which trainings are compiled."""

from __future__ import annotations

from hrm_sweep.learning import toolchain
from hrm_sweep.learning.act import ACT
from hrm_sweep.learning.configs import TrainerConfig
from hrm_sweep.learning.cores import RecursiveCore
from hrm_sweep.learning.layers import Linear

EARNED_BACK = 1200.0
"""Seconds of training from which on `auto` compiles. Of a step it saves a tenth to a fifth; of a
new size it costs some 40 s, and 8 s when another process or run has compiled it before."""
OPERATIONS_PER_SECOND, SECONDS_OF_SMALL_PARTS = 1e11, 5e-3
"""Of a training step, roughly and on every machine alike: equal recipes are to be computed in equal
ways, so what was measured must not decide."""


def is_compiled(config: TrainerConfig, model: ACT, puzzles: int, batch_size: int) -> bool:
    """Whether a training of so many puzzles an epoch is."""
    if config.compile != "auto":
        return config.compile == "on"
    seconds = config.epochs * puzzles * model.max_steps / batch_size * _step(model, batch_size)
    return seconds >= EARNED_BACK and toolchain.missing() is None


def _step(model: ACT, rows: int) -> float:
    """About how many seconds a step of training takes."""
    core, rounds = model.inner, 1
    if isinstance(core, RecursiveCore):
        rounds = core.H_cycles * core.L_cycles * (2 if model.halting == "q_learning" else 1)
    weights = sum(part.weight.numel() for part in model.modules() if isinstance(part, Linear))
    operations = 2 * weights * rows * model.tokens * (rounds + 2)  # backward counts twice
    return operations / OPERATIONS_PER_SECOND + SECONDS_OF_SMALL_PARTS
