"""The optimizer step: one vector of all parameters, its optimizer, schedule and moving average."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hrm_sweep.compat.torch import cpu_multiplies_bf16
from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.models.layers import Block, Linear, PuzzleEmbedding
from hrm_sweep.hrm.training.adam import make_optimizer
from hrm_sweep.hrm.training.configs import OptimizerConfig


class FlatParams:
    """All parameters of a model as one fp32 vector, and their gradients as another.

    The model's parameters become views of `vector`, so that clipping, the optimizer and the moving
    average each take a single pass over memory. In bf16 the linear layers compute with copies that
    are cast once per optimizer step (`sync_compute_copies`); `collect_grads` moves their gradients
    to `gradient`. Do not move the model or replace its parameters while this object is in use.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        linear = [module for module in model.modules() if isinstance(module, Linear)]
        first = [module.weight for module in linear]
        ids = set(map(id, first))
        parameters = [*first, *(p for p in model.parameters() if id(p) not in ids)]
        self.vector = nn.Parameter(torch.cat([p.detach().flatten() for p in parameters]))
        self.gradient = self.vector.grad = torch.zeros_like(self.vector)
        values = _views(self.vector.detach(), parameters)
        gradients = _views(self.gradient, parameters)
        for parameter, value, gradient in zip(parameters, values, gradients, strict=True):
            parameter.data, parameter.grad = value, gradient
        self._blocks = [module for module in model.modules() if isinstance(module, Block)]
        self._linear = linear if dtype != torch.float32 else []
        self._num_copied = sum(module.weight.numel() for module in self._linear)
        self._copies = torch.empty(self._num_copied, dtype=dtype)
        copies = _views(self._copies, [module.weight for module in self._linear])
        for module, copy in zip(self._linear, copies, strict=True):
            module.compute_copy = copy.requires_grad_()
        self.sync_compute_copies()
        model.register_load_state_dict_post_hook(lambda *_: self.sync_compute_copies())

    @torch.no_grad()
    def sync_compute_copies(self) -> None:
        """Bring the weights that layers compute with up to date, after every change of `vector`.

        Loading a state dict into the model does so by itself.
        """
        self._copies.copy_(self.vector[: self._num_copied])
        for block in self._blocks:
            block.refresh()

    @torch.no_grad()
    def collect_grads(self) -> None:
        """Complete `gradient` after a backward pass."""
        for module in self._linear:
            copy = module.compute_copy
            assert copy is not None
            assert module.weight.grad is not None
            if copy.grad is not None:
                module.weight.grad.copy_(copy.grad)
                copy.grad = None

    @contextmanager
    def replaced_by(self, vector: Tensor) -> Iterator[None]:
        """Let the model compute with the parameters in `vector` inside the context."""
        own = self.vector.detach().clone()
        try:
            self._set(vector)
            yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, vector: Tensor) -> None:
        self.vector.copy_(vector)
        self.sync_compute_copies()


def _views(vector: Tensor, like: list[nn.Parameter]) -> list[Tensor]:
    parts = vector.split([p.numel() for p in like]) if like else []
    return [part.view_as(p) for part, p in zip(parts, like, strict=True)]


class SignSGD:
    """The published optimizer of the puzzle embedding.

    The vectors that a batch uses take a step of fixed size along the sign of their gradient, after
    decoupled weight decay.
    """

    def __init__(self, embedding: PuzzleEmbedding, *, lr: float, weight_decay: float) -> None:
        self._embedding, self._lr, self._weight_decay = embedding, lr, weight_decay

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Update the vectors of the last batch with `share` of the learning rate, 0 to 1."""
        ids, rows = self._embedding.ids, self._embedding.rows
        assert ids is not None
        assert rows is not None
        assert rows.grad is not None
        is_same = (ids.unsqueeze(1) == ids).to(rows.dtype)
        gradient = is_same @ rows.grad  # rows with one identifier all get the sum of theirs
        lr = self._lr * share
        kept = rows.detach().mul(1 - lr * self._weight_decay)
        self._embedding.weights[ids] = kept.sub_(gradient.sign_(), alpha=lr)


class EMA:
    """Exponential moving average of the parameters, which is evaluated and kept instead of them.

    The decay is constant, as published, or rises to its value as (1 + n) / (10 + n) over the steps
    n, so that the average of a short training does not keep its random initialization.
    """

    def __init__(self, params: FlatParams, decay: float, *, warmup: bool = True) -> None:
        self._params, self._decay, self._has_warmup = params, decay, warmup
        self.vector = params.vector.detach().clone()
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the present parameters, after an optimizer step."""
        self.steps += 1
        decay = self._decay
        if self._has_warmup:
            decay = min(decay, (1 + self.steps) / (10 + self.steps))
        self.vector.lerp_(self._params.vector, 1 - decay)


class OptimizerStep:
    """The second half of a training step: clipping, schedule and update of all parameters.

    With `freeze` only the puzzle embedding is updated.
    """

    def __init__(
        self, model: ACT, params: FlatParams, config: OptimizerConfig, *, freeze: bool = False
    ) -> None:
        self.config = config
        self._params, self._is_frozen = params, freeze
        self._steps, self._warm_at = 0, 0.0
        """Number of steps, and the training's progress at the last of `warmup_steps`."""
        self._optimizer = make_optimizer(params.vector, config)
        self.lr = 0.0
        """Learning rate of the last step."""
        self._embedding: SignSGD | None = None
        if model.inner.prefix:
            self._embedding = SignSGD(
                model.inner.puzzle_emb,
                lr=config.puzzle_emb_lr,
                weight_decay=config.puzzle_emb_weight_decay,
            )

    def step(self, progress: float) -> float:
        """Update the parameters after a backward pass, at `progress` (0 to 1) of the training.

        Returns:
            The L2 norm of the gradient before clipping. Nothing is updated unless it is finite.
        """
        params, config = self._params, self.config
        params.collect_grads()
        norm = params.gradient.norm().item()
        if not math.isfinite(norm):
            return norm
        if config.max_grad_norm is not None and norm > config.max_grad_norm:
            params.gradient.mul_(config.max_grad_norm / norm)
        share = self._share_of_lr(progress)
        self.lr = config.lr * share
        if not self._is_frozen:
            self._optimizer.step(self.lr)
        params.gradient.zero_()
        params.sync_compute_copies()
        if self._embedding is not None:
            self._embedding.step(share)
        return norm

    def state(self) -> dict[str, Any]:
        """Return the optimizer's state, by reference, and where the warmup is."""
        return {**self._optimizer.state(), "warmup": [self._steps, self._warm_at]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._optimizer.load_state(state)
        self._steps, self._warm_at = state.get("warmup", (0, 0.0))

    def _share_of_lr(self, progress: float) -> float:
        """Return the share of the learning rate, 0 to 1, of a step at `progress`."""
        config, lowest = self.config, self.config.lr_min_ratio
        self._steps += 1
        if config.warmup_steps is None:
            return schedule(progress, warmup=config.warmup, lowest=lowest)
        if self._steps <= config.warmup_steps:
            self._warm_at = min(progress, 1.0)
            return self._steps / config.warmup_steps
        fallen = (progress - self._warm_at) / (1 - self._warm_at) if self._warm_at < 1 else 1.0
        return schedule(fallen, warmup=0.0, lowest=lowest)


def schedule(progress: float, *, warmup: float, lowest: float) -> float:
    """Return the share of the learning rate: linear warmup from 0, then a half cosine to `lowest`.

    Args:
        progress: of the training, 0 to 1; beyond 1 the share stays at `lowest`.
        warmup: share of the training that the warmup takes, 0 to 1.
        lowest: 0 to 1.
    """
    if progress < warmup:
        return progress / warmup
    fallen = (progress - warmup) / (1 - warmup) if warmup < 1 else 0.0
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * min(fallen, 1.0))) / 2


def compute_dtype(precision: str) -> torch.dtype:
    """Return the dtype of `trainer.precision`; `auto` is bf16 where the CPU multiplies in it."""
    if precision == "auto":
        precision = "bf16" if cpu_multiplies_bf16() else "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
