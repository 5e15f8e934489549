"""Lightning's trainer in a trial: curves, pruning, and the checkpoint of an earlier attempt.

trainer = Trainer(logger=TrialLogger(), max_epochs=10)
trainer.fit(model, ckpt_path=last_checkpoint())

Both import names will do, `lightning` and `pytorch_lightning`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hrm_sweep.runs import handle as trial
from hrm_sweep.runs.reporter import Reporter

NAMES = ("lightning.pytorch", "pytorch_lightning")


def _imported_lightning() -> Any:
    """Return the package that the app uses, or else the one that is installed."""
    for name in sorted(NAMES, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.partition(".")[0]:
                raise
    raise ModuleNotFoundError("hrm_sweep.lightning: run: pip install 'hrm-sweep[lightning]'")


_lightning = _imported_lightning()
_Logger: Any = _lightning.loggers.Logger
_Callback: Any = _lightning.Callback


class TrialLogger(_Logger):
    """Logger that reports to the trial, which may be pruned or stopped at each report.

    What is logged in an epoch is reported when it ends, with its number from 1 on; before the
    checkpoint of that epoch is written. What `trainer.test` measures belongs to the last epoch.

    Args:
        axis: what a step is; None: `epoch`, or `step` if the trainer validates by steps.
    """

    def __init__(self, axis: str | None = None) -> None:
        super().__init__()
        self._reporter = Reporter(axis)
        self._trainer: Any = None
        self._ended = 0
        """The last epoch that has ended."""

    @property
    def name(self) -> str:
        """Nothing: the trial's folder is the logger's own."""
        return ""

    @property
    def version(self) -> str:
        """Nothing, like the name."""
        return ""

    @property
    def save_dir(self) -> str:
        """Folder of the trial, the same in each attempt; checkpoints are below it by default."""
        return str(trial.current().folder)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the record has the whole config."""

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Meet the trainer, which says so when an epoch ends."""
        if self._trainer is not model.trainer:
            self._trainer, self._ended = model.trainer, 0
            self._trainer.callbacks.insert(0, _EpochEnds(self._end_epoch))  # before checkpoints
            self._reporter.begin(
                by_epochs=self._trainer.check_val_every_n_epoch is not None
                and self._trainer.max_epochs not in (None, -1),
                num_epochs=self._trainer.max_epochs or 0,
                num_steps=self._trainer.max_steps,
            )

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Report measurements, or keep them until the epoch has ended.

        Raises:
            Interrupted, optuna.TrialPruned: let them pass through.
        """
        values = {name: value for name, value in metrics.items() if name != "epoch"}
        state = self._trainer and self._trainer.state
        if state and (state.fn != "fit" or state.finished):
            self._reporter.log(values, self._reporter.last_step)
        elif self._reporter.axis != "epoch" or not state:
            self._reporter.log(values, step or 0)
        else:
            self._reporter.hold(values)
            if self._trainer.current_epoch < self._ended:
                self._reporter.release(self._ended)

    def _end_epoch(self) -> None:
        self._ended = self._trainer.current_epoch + 1
        self._reporter.release(self._ended)


class _EpochEnds(_Callback):
    """Says that an epoch has ended: with its validation, if that is at its end."""

    def __init__(self, end_epoch: Any) -> None:
        self._end_epoch = end_epoch

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the last validation of an epoch for its end."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and trainer.is_last_batch:
            self._end_epoch()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """End an epoch, with or without a validation."""
        self._end_epoch()


def last_checkpoint() -> Path | None:
    """Return the newest checkpoint of an earlier attempt of the trial, for `ckpt_path`.

    None in the first attempt, and in a run that is no trial.
    """
    handle = trial.current()
    found = handle.folder.rglob("*.ckpt") if handle.last_step else ()
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
