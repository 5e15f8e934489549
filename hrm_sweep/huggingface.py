"""Hugging Face's Trainer in a trial: curves, pruning, and the checkpoint of an earlier attempt.

trainer = Trainer(..., callbacks=[TrialCallback()])
trainer.train(resume_from_checkpoint=last_checkpoint())
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from hrm_sweep.runs import handle as trial
from hrm_sweep.runs.curves import CLOCK
from hrm_sweep.runs.numbers import as_number
from hrm_sweep.runs.reporter import Reporter

NO_METRICS = ("epoch", "total_flos")
OF_THE_CLOCK = ("_runtime", "_per_second")
"""Ends of the names of metrics that no two runs measure alike."""


class TrialCallback(TrainerCallback):
    """Callback that reports to the trial, which may be pruned or stopped at each report.

    Args:
        axis: what a step is; None: `epoch`, from 1 on, with `eval_strategy="epoch"`, and `step`
            with any other.
    """

    def __init__(self, axis: str | None = None) -> None:
        self._reporter = Reporter(axis)
        self._ended = 0
        """The last epoch that has ended."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take note of how the trainer evaluates."""
        self._reporter.begin(
            by_epochs=args.eval_strategy == "epoch",
            num_epochs=math.ceil(args.num_train_epochs),
            num_steps=state.max_steps,
        )

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report measurements, or keep them until the epoch has ended.

        Raises:
            Interrupted, optuna.TrialPruned: let them pass through.
        """
        values = dict(_measured(kwargs.get("logs") or {}))
        if not self._reporter.axis or state.epoch is None:
            self._reporter.log(values, self._reporter.last_step)
        elif self._reporter.axis == "step":
            self._reporter.log(values, state.global_step)
        else:
            self._reporter.hold(values)
            if state.epoch <= self._ended:
                self._reporter.release(self._ended)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report what was kept; the evaluation of the epoch follows."""
        self._ended = math.ceil(round(state.epoch, 6))
        self._reporter.release(self._ended)


def last_checkpoint() -> str | None:
    """Return the last whole checkpoint of an earlier attempt, for `resume_from_checkpoint`.

    It has to be below the trial's folder: set `output_dir` to `trial.current().folder`. None in the
    first attempt, and in a run that is no trial.
    """
    handle = trial.current()
    found = handle.folder.rglob("checkpoint-*/trainer_state.json") if handle.last_step else ()
    newest = max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
    return str(newest.parent) if newest else None


def _measured(logs: Mapping[str, Any]) -> Any:
    """Yield names and values of what is a measurement."""
    for name, value in logs.items():
        if name not in NO_METRICS and as_number(value) is not None:
            yield f"{CLOCK}{name}" if name.endswith(OF_THE_CLOCK) else name, value
