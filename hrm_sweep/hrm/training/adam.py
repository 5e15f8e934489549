"""The optimizers of the vector of all parameters: AdamW, and Adam with atan2."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

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
    """Adam with atan2 in place of the division by the root and epsilon: arXiv:2407.05872."""

    def __init__(self, vector: nn.Parameter, config: OptimizerConfig) -> None:
        # imported here, as it takes 0.1 s and few runs need it
        from adam_atan2_pytorch import AdamAtan2 as Optimizer

        self._optimizer = Optimizer(
            [vector],
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
        )

    def step(self, lr: float) -> None:
        """Update the vector."""
        self._optimizer.param_groups[0]["lr"] = lr
        self._optimizer.step()

    def state(self) -> dict[str, Any]:
        """Return the state dict of the package's optimizer."""
        return self._optimizer.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._optimizer.load_state_dict(state)
