"""The optimizers of the vector of all weights: AdamW, and Adam with atan2."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from hrm_sweep.hrm.group_configs import AdamAtan2Config, OptimizerConfig


class VectorOptimizer(Protocol):
    """Moves one vector along its gradient."""

    def step(self, lr: float) -> None: ...

    def state(self) -> dict[str, Any]:
        """Its own tensors, not copies."""

    def load_state(self, state: dict[str, Any]) -> None: ...


def make_optimizer(vector: nn.Parameter, config: OptimizerConfig) -> VectorOptimizer:
    return (Atan2 if isinstance(config, AdamAtan2Config) else AdamW)(vector, config)


class AdamW:
    """AdamW (arXiv:1711.05101) by PyTorch's function for it.

    `torch.optim.AdamW` calls the same function. But when an `Optimizer` is first used it imports
    all that torch.compile needs, which costs every worker 1.4 s and 90 MB, and 0.2 ms a step.
    """

    def __init__(self, vector: nn.Parameter, config: OptimizerConfig) -> None:
        self._vector, self._config = vector, config
        self._mean, self._square = torch.zeros_like(vector.data), torch.zeros_like(vector.data)
        self._steps = torch.zeros(())

    @torch.no_grad()
    def step(self, lr: float) -> None:
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
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def load_state(self, state: dict[str, Tensor]) -> None:
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


class Atan2:
    """Adam with atan2 in place of a division by the root and an epsilon: arXiv:2407.05872."""

    def __init__(self, vector: nn.Parameter, config: OptimizerConfig) -> None:
        from adam_atan2_pytorch import AdamAtan2  # here: 0.1 s that few runs need

        self._optimizer = AdamAtan2(
            [vector],
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
        )

    def step(self, lr: float) -> None:
        self._optimizer.param_groups[0]["lr"] = lr
        self._optimizer.step()

    def state(self) -> dict[str, Any]:
        return self._optimizer.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state)
