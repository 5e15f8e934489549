"""Adam on the vector of all parameters: AdamW, or with atan2."""

from __future__ import annotations

from typing import Any

import torch

from hrm_sweep.errors import CheckpointError
from hrm_sweep.hrm.backends.backend import AdamStep, AdamVectors, Backend
from hrm_sweep.hrm.training.configs import AdamAtan2Config, OptimizerConfig
from hrm_sweep.hrm.training.params import FlatParams


class Adam:
    """AdamW (arXiv:1711.05101), or Adam with atan2 (arXiv:2407.05872), as the config says.

    With atan2 it is as in the package adam-atan2 0.0.3, with which HRM and TRM were trained: the
    update is atan2(m, sqrt(v / bias2)) / bias1, without a scale. The bias of m is corrected outside
    of atan2, so that the first steps are as long as later ones.

    Args:
        params: What is updated.
        config: Of the optimizer.
        backend: What computes, on `threads` threads.
    """

    def __init__(
        self, params: FlatParams, config: OptimizerConfig, backend: Backend, threads: int = 1
    ) -> None:
        vector = params.vector.detach()
        self._mean, self._square = torch.zeros_like(vector), torch.zeros_like(vector)
        vectors = AdamVectors(vector, params.gradient, self._mean, self._square, params.copies)
        self._kernel = backend.adam(vectors, threads)
        self._config, self._steps = config, 0

    def gradient_norm(self) -> float:
        """Return the L2 norm of the gradient."""
        return self._kernel.norm()

    def step(self, lr: float, scale: float = 1.0) -> None:
        """Update the parameters by the gradient times `scale`; the gradient becomes zero."""
        config = self._config
        self._steps += 1
        step = AdamStep(
            number=self._steps,
            lr=lr,
            scale=scale,
            beta1=config.beta1,
            beta2=config.beta2,
            weight_decay=config.weight_decay,
            atan2=isinstance(config, AdamAtan2Config),
        )
        self._kernel.update(step)

    def state(self) -> dict[str, Any]:
        """Return both moments, not copies of them, and the number of steps."""
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned.

        Raises:
            CheckpointError: It is of an earlier form of atan2, which took longer steps.
        """
        if "mean" not in state:
            raise CheckpointError(
                "written by an earlier optimizer=adam_atan2, which stepped a quarter further than "
                "the published one; remove it to train from the start, or finish the run with "
                "the version that began it"
            )
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])
        self._steps = int(state["steps"])  # a tensor in earlier checkpoints
