"""The update of all parameters by PyTorch's operators."""

from __future__ import annotations

import torch
from torch.optim.adamw import adamw

from hrm_sweep.hrm.backends.backend import AdamStep, AdamVectors


class EagerAdam:
    """An `AdamKernel`.

    `torch.optim.AdamW` calls the same functional form. But the first use of a
    `torch.optim.Optimizer` imports torch.compile, which costs every worker 1.4 s and 90 MB, and
    0.2 ms a step.
    """

    def __init__(self, vectors: AdamVectors) -> None:
        self._vectors = vectors

    def norm(self) -> float:
        """Return the L2 norm of the gradient."""
        return self._vectors.gradient.norm().item()

    @torch.no_grad()
    def update(self, step: AdamStep) -> None:
        """Update the parameters, both moments and the copies; the gradient becomes zero."""
        vectors = self._vectors
        if step.scale != 1:
            vectors.gradient.mul_(step.scale)
        (_atan2 if step.atan2 else _adamw)(vectors, step)
        vectors.gradient.zero_()
        vectors.copies.copy_(vectors.parameters[: len(vectors.copies)])


def _adamw(vectors: AdamVectors, step: AdamStep) -> None:
    adamw(
        [vectors.parameters],
        [vectors.gradient],
        [vectors.mean],
        [vectors.square],
        [],
        [torch.tensor(step.number - 1.0)],  # it counts by itself
        fused=True,
        amsgrad=False,
        beta1=step.beta1,
        beta2=step.beta2,
        lr=step.lr,
        weight_decay=step.weight_decay,
        eps=step.epsilon,
        maximize=False,
    )


def _atan2(vectors: AdamVectors, step: AdamStep) -> None:
    vectors.mean.lerp_(vectors.gradient, 1 - step.beta1)
    vectors.square.lerp_(vectors.gradient.square(), 1 - step.beta2)
    update = torch.atan2(vectors.mean, vectors.square.div(step.bias2).sqrt_())
    vectors.parameters.mul_(1 - step.lr * step.weight_decay).sub_(
        update, alpha=step.lr / step.bias1
    )
