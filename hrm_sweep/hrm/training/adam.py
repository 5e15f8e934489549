"""The optimizers of the vector of all parameters: AdamW, and Adam with atan2."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from hrm_sweep.errors import CheckpointError
from hrm_sweep.hrm.training.configs import AdamAtan2Config, OptimizerConfig


class VectorOptimizer(Protocol):
    """An optimizer of a single vector, whose gradient is in its `.grad`."""

    def step(self, lr: float) -> None:
        """Update the vector."""

    def state(self) -> dict[str, Any]:
        """Return the optimizer's tensors, not copies of them."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""


def make_optimizer(vector: nn.Parameter, config: OptimizerConfig) -> VectorOptimizer:
    """Return the optimizer that a config describes."""
    return (AdamAtan2 if isinstance(config, AdamAtan2Config) else AdamW)(vector, config)


class AdamW:
    """AdamW (arXiv:1711.05101), computed by PyTorch's functional form of it.

    `torch.optim.AdamW` calls the same function. But the first use of a `torch.optim.Optimizer`
    imports torch.compile, which costs every worker 1.4 s and 90 MB, and 0.2 ms a step.
    """

    def __init__(self, vector: nn.Parameter, config: OptimizerConfig) -> None:
        self._vector, self._config = vector, config
        self._mean, self._square = torch.zeros_like(vector.data), torch.zeros_like(vector.data)
        self._steps = torch.zeros(())

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update the vector."""
        config, gradient = self._config, self._vector.grad
        assert gradient is not None
        adamw(
            [self._vector],
            [gradient],
            [self._mean],
            [self._square],
            [],
            [self._steps],
            fused=True,
            amsgrad=False,
            beta1=config.beta1,
            beta2=config.beta2,
            lr=lr,
            weight_decay=config.weight_decay,
            eps=1e-8,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """Return both moments and the number of steps, not copies of them."""
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


class AdamAtan2:
    """Adam with atan2 in place of the division by the root and epsilon: arXiv:2407.05872.

    As in the package adam-atan2 0.0.3, with which HRM and TRM were trained: the update is atan2(m,
    sqrt(v / bias2)) / bias1, without a scale. The bias of m is corrected outside of atan2, so that
    the first steps are as long as later ones.
    """

    def __init__(self, vector: nn.Parameter, config: OptimizerConfig) -> None:
        self._vector, self._config = vector, config
        self._mean, self._square = torch.zeros_like(vector.data), torch.zeros_like(vector.data)
        self._steps = 0

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update the vector."""
        config, gradient = self._config, self._vector.grad
        assert gradient is not None
        self._steps += 1
        bias1, bias2 = 1 - config.beta1**self._steps, 1 - config.beta2**self._steps
        self._mean.lerp_(gradient, 1 - config.beta1)
        self._square.lerp_(gradient.square(), 1 - config.beta2)
        update = torch.atan2(self._mean, self._square.div(bias2).sqrt_())
        self._vector.mul_(1 - lr * config.weight_decay).sub_(update, alpha=lr / bias1)

    def state(self) -> dict[str, Any]:
        """Return both moments, not copies of them, and the number of steps."""
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned.

        Raises:
            CheckpointError: It is of an earlier form of this optimizer, which took longer steps.
        """
        if "mean" not in state:
            raise CheckpointError(
                "written by an earlier optimizer=adam_atan2, which stepped a quarter further than "
                "the published one; remove it to train from the start, or finish the run with "
                "the version that began it"
            )
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])
        self._steps = state["steps"]
