"""From gradients to new weights: one vector of all weights, one optimizer over it, one schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hrm_sweep.hrm.group_configs import OptimizerConfig
from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.models.layers import Block, Linear, PuzzleEmbedding
from hrm_sweep.hrm.training.adam import make_optimizer


class Weights:
    """All weights of a model as one vector in fp32, and their gradient likewise.

    The model's parameters become views into it, so that clipping, the optimizer and the average
    are one pass over memory each. In bf16 the linear layers compute with working copies, cast once
    for each step (`publish`), whose gradients `gather` brings back. While one of these is at work,
    a model must not be moved or have its parameters replaced.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        linear = [module for module in model.modules() if isinstance(module, Linear)]
        first = [module.weight for module in linear]
        among_first = set(map(id, first))
        rest = [p for p in model.parameters() if id(p) not in among_first]
        self.vector = nn.Parameter(torch.cat([p.detach().flatten() for p in (*first, *rest)]))
        self.gradient = self.vector.grad = torch.zeros_like(self.vector)
        for parameter, values, gradient in zip(
            (*first, *rest),
            _views(self.vector.detach(), [*first, *rest]),
            _views(self.gradient, [*first, *rest]),
            strict=True,
        ):
            parameter.data, parameter.grad = values, gradient
        self._blocks = [module for module in model.modules() if isinstance(module, Block)]
        self._linear = linear if dtype != torch.float32 else []
        self._in_working = sum(module.weight.numel() for module in self._linear)
        self._working = torch.empty(self._in_working, dtype=dtype)
        copies = _views(self._working, [module.weight for module in self._linear])
        for module, copy in zip(self._linear, copies, strict=True):
            module.working = copy.requires_grad_()
        self.publish()
        model.register_load_state_dict_post_hook(lambda *_: self.publish())

    @torch.no_grad()
    def publish(self) -> None:
        """Brings the working copies up to date; after every change of `vector`. Loading a state
        into the model does it by itself."""
        self._working.copy_(self.vector[: self._in_working])
        for block in self._blocks:
            block.refresh()

    @torch.no_grad()
    def gather(self) -> None:
        """Completes `gradient` after a backward pass."""
        for module in self._linear:
            assert module.working is not None
            assert module.weight.grad is not None
            if module.working.grad is not None:
                module.weight.grad.copy_(module.working.grad)
                module.working.grad = None

    @contextmanager
    def replaced_by(self, vector: Tensor) -> Iterator[None]:
        """Lets the model compute with other weights for a while."""
        own = self.vector.detach().clone()
        try:
            self._put(vector)
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, vector: Tensor) -> None:
        self.vector.copy_(vector)
        self.publish()


def _views(vector: Tensor, like: list[nn.Parameter]) -> list[Tensor]:
    parts = vector.split([p.numel() for p in like]) if like else []
    return [part.view_as(p) for part, p in zip(parts, like, strict=True)]


class SignSGD:
    """The puzzle embedding's optimizer, as published: for the rows that a batch touches, a step of
    fixed size along the sign of their gradient, after decoupled weight decay."""

    def __init__(self, embedding: PuzzleEmbedding, *, lr: float, weight_decay: float) -> None:
        self._embedding, self._lr, self._weight_decay = embedding, lr, weight_decay

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Updates the rows of the last batch with `share` of the learning rate."""
        ids, rows = self._embedding.ids, self._embedding.rows
        assert ids is not None
        assert rows is not None
        assert rows.grad is not None
        alike = (ids.unsqueeze(1) == ids).to(rows.dtype)
        gradient = alike @ rows.grad  # of rows with one identifier, the sum: the same for each
        lr = self._lr * share
        kept = rows.detach().mul(1 - lr * self._weight_decay)
        self._embedding.weights[ids] = kept.sub_(gradient.sign_(), alpha=lr)


class Average:
    """Exponential moving average of the weights, which is what gets evaluated and kept.

    The decay rises to its value as (1 + n) / (10 + n) over the steps n, so that a short training
    does not carry its random start along.
    """

    def __init__(self, weights: Weights, decay: float) -> None:
        self._weights, self._decay = weights, decay
        self.vector = weights.vector.detach().clone()
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        self.vector.lerp_(self._weights.vector, 1 - decay)


class Stepper:
    """One training step's second half: gather, clip, schedule, step, publish."""

    def __init__(self, model: ACT, weights: Weights, config: OptimizerConfig) -> None:
        self.config = config
        self._weights = weights
        self._optimizer = make_optimizer(weights.vector, config)
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
        """Moves the weights after a backward pass, at `progress` (0..1) of the training.

        Returns:
            The length of the gradient before clipping. If that is not finite, nothing has moved.
        """
        weights = self._weights
        weights.gather()
        norm = weights.gradient.norm().item()
        if not math.isfinite(norm):
            return norm
        if self.config.max_grad_norm is not None and norm > self.config.max_grad_norm:
            weights.gradient.mul_(self.config.max_grad_norm / norm)
        share = schedule(progress, warmup=self.config.warmup, lowest=self.config.lr_min_ratio)
        self.lr = self.config.lr * share
        self._optimizer.step(self.lr)
        weights.gradient.zero_()
        weights.publish()
        if self._embedding is not None:
            self._embedding.step(share)
        return norm

    def state(self) -> dict[str, Any]:
        return self._optimizer.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state(state)


def schedule(progress: float, *, warmup: float, lowest: float) -> float:
    """Share of the learning rate: a line up from 0, then half a cosine down to `lowest`."""
    if progress < warmup:
        return progress / warmup
    fallen = (progress - warmup) / (1 - warmup) if warmup < 1 else 0.0
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * min(fallen, 1.0))) / 2


def compute_dtype(precision: str) -> torch.dtype:
    """What `trainer.precision` means here: `auto` is bf16 only where the CPU multiplies in it."""
    if precision == "auto":
        has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        precision = "bf16" if has_bf16 else "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
