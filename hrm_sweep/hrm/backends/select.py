"""`trainer.compile`: which trainings compute with kernels compiled for this CPU."""

from __future__ import annotations

import logging

import torch

from hrm_sweep.errors import ConfigError, InputError
from hrm_sweep.hrm.backends import native, toolchain
from hrm_sweep.hrm.group_configs import TrainerConfig
from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.models.cores import RecursiveCore
from hrm_sweep.hrm.models.layers import Block, Linear
from hrm_sweep.hrm.training.optim import compute_dtype

EARNED_BACK = 1.0
"""Seconds of training from which on `auto` compiles. It saves a third to two thirds of them, and
the three that it takes it takes once on a machine: a study of a few trials has them back."""
OPERATIONS_PER_SECOND, SECONDS_OF_SMALL_PARTS = 1e11, 5e-3
"""Of a training step, roughly and on every machine alike: equal recipes are to be computed in equal
ways, so neither what was measured nor what is in the cache must decide."""

log = logging.getLogger(__name__)


def compile_blocks(config: TrainerConfig, model: ACT, puzzles: int, batch_size: int) -> bool:
    """Lets compiled kernels compute the model's blocks where that is asked for or pays, and returns
    whether they do; `optim.Weights` gives them the weights.

    Raises:
        InputError: it was asked for and cannot be.
    """
    if (reason := why_not(config, model, puzzles, batch_size)) is not None:
        log.info("trainer.compile=%s: PyTorch's own operators compute (%s)", config.compile, reason)
        return False
    try:
        _check_sizes(config, model)
        native.functions()
    except InputError as error:
        if config.compile == "on":
            raise
        log.warning("%s; goes on without", error)
        return False
    for module in model.modules():
        if isinstance(module, Block):
            module.use_native(config.threads)
    log.info("trainer.compile=%s: kernels compiled for this CPU compute", config.compile)
    return True


def why_not(config: TrainerConfig, model: ACT, puzzles: int, batch_size: int) -> str | None:
    """Why a training of so many puzzles an epoch is not compiled; None: it is to be."""
    if config.compile == "off":
        return "as asked for"
    if config.compile == "on":
        return None
    if lacking := toolchain.missing():
        return f"{lacking} is not here"
    segments = model.max_steps if config.batches == "stream" else 1
    seconds = config.epochs * puzzles * segments / batch_size * _step(model, batch_size)
    return None if seconds >= EARNED_BACK else "too short a training to earn compiling back"


def _check_sizes(config: TrainerConfig, model: ACT) -> None:
    """In bf16 the kernels take numbers in pairs."""
    linear = [part for part in model.modules() if isinstance(part, Linear)]
    is_odd = any(size % 2 for part in linear for size in part.weight.shape)
    if is_odd and compute_dtype(config.precision) == torch.bfloat16:
        rule = "in bf16 it takes an even hidden_dim and an MLP of even width"
        way_out = "try model.mlp_multiple_of=2, or trainer.precision=fp32"
        raise ConfigError("trainer.compile", config.compile, rule, way_out)


def _step(model: ACT, rows: int) -> float:
    """About how many seconds a step of training takes."""
    core, rounds = model.inner, 1
    if isinstance(core, RecursiveCore):
        rounds = core.H_cycles * core.L_cycles * (2 if model.halting == "q_learning" else 1)
    weights = sum(part.weight.numel() for part in model.modules() if isinstance(part, Linear))
    operations = 2 * weights * rows * model.tokens * (rounds + 2)  # backward counts twice
    return operations / OPERATIONS_PER_SECOND + SECONDS_OF_SMALL_PARTS
