"""Which epoch was the best, and whether waiting for a better one has lasted long enough."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.group_configs import TrainerConfig, lower_is_better


class Best:
    """The best epoch so far by `monitor`; equal ones by the lower `eval/loss`, then the earlier."""

    def __init__(self, config: TrainerConfig) -> None:
        self._monitor = config.monitor
        self._sign = -1.0 if lower_is_better(config.monitor) else 1.0
        self._stopping = config.early_stopping
        self.epoch = 0
        """0 before the first."""
        self.values: dict[str, float] = {}
        """All that was measured in that epoch."""
        self.weights: dict[str, Tensor] | None = None
        """The model's state then, as it was evaluated; whoever calls `judge` keeps it here."""
        self._to_beat = float("-inf")
        self._waited = 0

    def judge(self, epoch: int, values: dict[str, float]) -> bool:
        """Takes an epoch's values; whether it is the best now.

        Raises:
            ConfigError: `trainer.monitor` is not among the values.
        """
        if self._monitor not in values:
            known = ", ".join(name for name in values if name.startswith("eval/"))
            raise ConfigError("monitor", self._monitor, "is not measured", f"choose from {known}")
        height = self._height(values)
        if height > self._to_beat + self._stopping.min_improvement:
            self._to_beat, self._waited = height, 0
        else:
            self._waited += 1
        if self.values and not self._order(values) > self._order(self.values):
            return False
        self.epoch, self.values = epoch, dict(values)
        return True

    @property
    def patience_is_over(self) -> bool:
        patience = self._stopping.patience
        return patience is not None and self._waited >= patience

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "values": dict(self.values),
            "weights": self.weights,
            "to_beat": self._to_beat,
            "waited": self._waited,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.epoch, self.values = state["epoch"], dict(state["values"])
        self.weights = state["weights"]
        self._to_beat, self._waited = state["to_beat"], state["waited"]

    def _height(self, values: dict[str, float]) -> float:
        return self._sign * values[self._monitor]

    def _order(self, values: dict[str, float]) -> tuple[float, float]:
        return self._height(values), -values["eval/loss"]
