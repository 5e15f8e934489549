"""`trainer.compile`: which trainings compute with a library compiled for this CPU."""

from __future__ import annotations

import logging

import torch

from hrm_sweep.errors import ConfigError, InputError
from hrm_sweep.hrm.backends.backend import Backend
from hrm_sweep.hrm.backends.eager import EagerBackend
from hrm_sweep.hrm.backends.native import NativeBackend
from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.models.cores import Core, RecursiveCore
from hrm_sweep.hrm.models.layers import Block, Linear
from hrm_sweep.hrm.training.configs import TrainerConfig
from hrm_sweep.hrm.training.optim import compute_dtype

EARNED_BACK = 1.0
"""Seconds of training from which on `auto` compiles. Compiling takes three seconds, once on a
machine, and saves a third to two thirds of a training: a few trials of a study earn it back."""
OPERATIONS_PER_SECOND, SECONDS_OF_SMALL_PARTS = 1e11, 5e-3
"""Of a training step: rough constants, the same for every machine. Equal recipes are to be computed
in equal ways, so neither a measurement nor the content of the cache may decide."""

log = logging.getLogger(__name__)


def select_backend(config: TrainerConfig, model: ACT, puzzles: int, batch_size: int) -> Backend:
    """Let the backend that `trainer.compile` asks for compute the model's blocks, and return it.

    Raises:
        InputError: `trainer.compile` is `on` and the native backend cannot be used.
    """
    backend = _choose(config, model, puzzles, batch_size)
    use_backend(backend, model, config.threads)
    return backend


def use_backend(backend: Backend, model: ACT, threads: int) -> None:
    """Let a backend that is loaded compute the model's input states and blocks."""
    for module in reversed([*model.modules()]):  # a core's blocks before the core
        if isinstance(module, Block | Core):
            module.use_backend(backend, threads)


def recorded_backend(name: str) -> Backend:
    """Return the backend of this machine that a run recorded as `compiled`, loaded.

    Raises:
        InputError: the native backend cannot be used here.
    """
    if name == EagerBackend.name:
        return EagerBackend()
    backend = NativeBackend()
    if missing := backend.missing():
        raise InputError(f"{missing} is not here")
    backend.load()
    return backend


def why_eager(config: TrainerConfig, model: ACT, puzzles: int, batch_size: int) -> str | None:
    """Return why PyTorch's operators compute a training of `puzzles` an epoch; None: they do not.

    The native backend may still fail to load.
    """
    if config.compile == "off":
        return "as asked for"
    if config.compile == "on":
        return None
    if missing := NativeBackend().missing():
        return f"{missing} is not here"
    segments = model.max_steps if config.batches == "stream" else 1
    seconds = config.epochs * puzzles * segments / batch_size * _step(model, batch_size)
    return None if seconds >= EARNED_BACK else "too short a training to earn compiling back"


def _choose(config: TrainerConfig, model: ACT, puzzles: int, batch_size: int) -> Backend:
    if (reason := why_eager(config, model, puzzles, batch_size)) is not None:
        log.info("trainer.compile=%s: PyTorch's own operators compute (%s)", config.compile, reason)
        return EagerBackend()
    backend = NativeBackend()
    try:
        _check_sizes(config, model)
        backend.load()
    except InputError as error:
        if config.compile == "on":
            raise
        log.warning("%s; PyTorch's own operators compute instead", error)
        return EagerBackend()
    log.info("trainer.compile=%s: kernels compiled for this CPU compute", config.compile)
    return backend


def _check_sizes(config: TrainerConfig, model: ACT) -> None:
    """Check that sizes are even for bf16, whose numbers the native backend takes in pairs."""
    blocks = [part for part in model.modules() if isinstance(part, Block)]
    is_odd = any(size % 2 for block in blocks for size in block.sizes_of_products)
    if is_odd and compute_dtype(config.precision) == torch.bfloat16:
        rule = "in bf16 it takes an even hidden_dim and an MLP of even width"
        way_out = "try model.mlp_multiple_of=2, or trainer.precision=fp32"
        raise ConfigError("trainer.compile", config.compile, rule, way_out)


def _step(model: ACT, rows: int) -> float:
    """Return a rough estimate of the seconds that a step of training takes."""
    core, rounds = model.inner, 1
    if isinstance(core, RecursiveCore):
        rounds = core.H_cycles * core.L_cycles * (2 if model.halting == "q_learning" else 1)
    weights = sum(part.weight.numel() for part in model.modules() if isinstance(part, Linear))
    operations = 2 * weights * rows * model.tokens * (rounds + 2)  # backward counts twice
    return operations / OPERATIONS_PER_SECOND + SECONDS_OF_SMALL_PARTS
