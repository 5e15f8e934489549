"""The optimizer step: clipping, schedule, update and moving average of all parameters."""

from __future__ import annotations

import math
from typing import Any

import torch

from hrm_sweep.compat.torch import cpu_has_avx512_bf16
from hrm_sweep.hrm.backends.backend import Backend
from hrm_sweep.hrm.backends.eager import EagerBackend
from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.models.layers import PuzzleEmbedding
from hrm_sweep.hrm.training.adam import Adam
from hrm_sweep.hrm.training.configs import OptimizerConfig
from hrm_sweep.hrm.training.params import FlatParams
from hrm_sweep.system import environment


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

    `backend` computes, by default with PyTorch's operators. With `freeze` only the puzzle embedding
    is updated.
    """

    def __init__(
        self,
        model: ACT,
        params: FlatParams,
        config: OptimizerConfig,
        backend: Backend | None = None,
        *,
        threads: int = 1,
        freeze: bool = False,
    ) -> None:
        self.config = config
        self._params, self._is_frozen = params, freeze
        self._steps, self._warm_at = 0, 0.0
        """Number of steps, and the training's progress at the last of `warmup_steps`."""
        self._optimizer = Adam(params, config, backend or EagerBackend(), threads)
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
        norm, longest = self._optimizer.gradient_norm(), config.max_grad_norm or math.inf
        if not math.isfinite(norm):
            return norm
        share = self._share_of_lr(progress)
        self.lr = config.lr * share
        if self._is_frozen:
            params.gradient.zero_()
        else:
            self._optimizer.step(self.lr, longest / norm if norm > longest else 1.0)
            params.refresh_blocks()
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
    """Return the dtype of `trainer.precision`; `auto` is bf16 where the CPU is faster in it.

    Those with AVX512-BF16 have an instruction that multiplies twice as many numbers as one in fp32.
    AMD's cores start it as often; Intel's do so four times as seldom, and are half as fast in bf16.
    """
    if precision == "auto":
        is_faster = cpu_has_avx512_bf16() and environment.cpu_vendor() == "AuthenticAMD"
        precision = "bf16" if is_faster else "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
