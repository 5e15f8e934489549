"""The best epoch, and early stopping."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.training.configs import TrainerConfig
from hrm_sweep.hrm.training.metrics import lower_is_better


class BestEpoch:
    """The best epoch so far by `trainer.monitor`.

    Of equal ones it is the one with the lower `eval/loss`, then the earlier.
    """

    def __init__(self, config: TrainerConfig) -> None:
        self._monitor = config.monitor
        self._sign = -1.0 if lower_is_better(config.monitor) else 1.0
        self._stopping = config.early_stopping
        self.epoch = 0
        """Counted from 1; 0 before the first evaluation."""
        self.values: dict[str, float] = {}
        """All metrics of that epoch."""
        self.weights: dict[str, Tensor] | None = None
        """State dict of the model as it was evaluated; the caller of `update` puts it here."""
        self._to_beat = float("-inf")
        self._waited = 0

    def update(self, epoch: int, values: dict[str, float]) -> bool:
        """Compare the metrics of an evaluated epoch; return whether it is the best now.

        Raises:
            ConfigError: `trainer.monitor` is not among the metrics.
        """
        if self._monitor not in values:
            known = ", ".join(name for name in values if name.startswith("eval/"))
            raise ConfigError("monitor", self._monitor, "is not measured", f"choose from {known}")
        signed = self._signed(values)
        if signed > self._to_beat + self._stopping.min_improvement:
            self._to_beat, self._waited = signed, 0
        else:
            self._waited += 1
        if self.values and not self._order(values) > self._order(self.values):
            return False
        self.epoch, self.values = epoch, dict(values)
        return True

    @property
    def should_stop(self) -> bool:
        """Whether as many evaluations as `patience` have passed without an improvement."""
        patience = self._stopping.patience
        return patience is not None and self._waited >= patience

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            "epoch": self.epoch,
            "values": dict(self.values),
            "weights": self.weights,
            "to_beat": self._to_beat,
            "waited": self._waited,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.epoch, self.values = state["epoch"], dict(state["values"])
        self.weights = state["weights"]
        self._to_beat, self._waited = state["to_beat"], state["waited"]

    def _signed(self, values: dict[str, float]) -> float:
        return self._sign * values[self._monitor]

    def _order(self, values: dict[str, float]) -> tuple[float, float]:
        return self._signed(values), -values["eval/loss"]
