"""Reports of a training framework on their way into a trial's curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrm_sweep.runs import handle as trial

AXES = ("epoch", "step")


class Reporter:
    """Logs what a framework reports, each metric once a step.

    Frameworks report some metrics many times in an epoch. Their steps depend on the batch size, so
    that trials of a search could not be compared at equal steps. Therefore an epoch is a step, with
    the last value of each metric in it.

    Args:
        axis: what a step is, `epoch` or `step` (of the optimizer); None: as the trainer validates.

    Raises:
        ValueError: the axis is another one.
    """

    def __init__(self, axis: str | None) -> None:
        if axis not in (None, *AXES):
            raise ValueError(f"axis={axis!r}: must be one of {', '.join(AXES)}, or None")
        self.axis = axis
        self.last_step = trial.current().last_step
        """The last step that was logged; what is measured after the training belongs to it."""
        self._held: dict[str, Any] = {}
        self._logged: dict[str, int] = {}
        """The last step of each metric."""

    def begin(self, *, by_epochs: bool, num_epochs: int, num_steps: int) -> None:
        """Take note of how a trainer works; lengths below 1 are unknown."""
        self.axis = self.axis or ("epoch" if by_epochs else "step")
        length = num_epochs if self.axis == "epoch" else num_steps
        if length > 0:
            trial.current().set_num_steps(length)

    def hold(self, values: Mapping[str, Any]) -> None:
        """Keep values of an epoch that has not ended."""
        self._held |= values

    def release(self, step: int) -> None:
        """Log what was kept."""
        held, self._held = self._held, {}
        self.log(held, step)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Log values, but for metrics that are logged already at this step or a later one.

        Raises:
            Interrupted, optuna.TrialPruned: see `RunHandle.log`.
        """
        new = {name: value for name, value in values.items() if step > self._logged.get(name, -1)}
        if new:
            self._logged |= dict.fromkeys(new, step)
            self.last_step = max(self.last_step, step)
            trial.current().log(new, step=step)
