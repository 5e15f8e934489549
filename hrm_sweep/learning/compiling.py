"""`trainer.compile`: which trainings are compiled, and how."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hrm_sweep.learning import toolchain
from hrm_sweep.learning.configs import TrainerConfig
from hrm_sweep.learning.cores import RecursiveCore
from hrm_sweep.learning.layers import Linear

if TYPE_CHECKING:
    from hrm_sweep.learning.act import ACT

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


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled when inputs of a new size come.

    Give a method as the function of its class: then a second model of equal sizes finds in this
    process what was compiled for the first. On disk it is shared by all processes.
    """
    import torch._dynamo.config
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1  # no processes of its own that outlive a kill
    torch._dynamo.config.recompile_limit = 10_000  # a study tries many sizes
    torch._dynamo.config.accumulated_recompile_limit = 10_000
    return torch.compile(function, dynamic=False, fullgraph=True)
