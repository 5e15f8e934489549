"""A finished run as Python objects: its model with the best weights, and its task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig
from torch import Tensor

from hrm_sweep.errors import CheckpointError, RecordError
from hrm_sweep.hrm import config as configuration
from hrm_sweep.hrm.data import build_task
from hrm_sweep.hrm.data.task import Batch, Task
from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.training.checkpoint import load_weights
from hrm_sweep.hrm.training.evaluate import solve
from hrm_sweep.hrm.training.optim import FlatParams, compute_dtype
from hrm_sweep.runs import layout
from hrm_sweep.runs.configs import read_config
from hrm_sweep.runs.run import Run


class LoadedRun(NamedTuple):
    """`model, task = load_run(folder)`, or by name."""

    model: ACT
    task: Task

    def predict(self, batch: Batch) -> Tensor:
        """Return the token at each place, int64 [B, T], where the model halts.

        `task.picture` turns a row into a grid.
        """
        return solve(self.model, batch).predictions


def load_run(folder: str | Path) -> LoadedRun:
    """Return the model of a run with the weights of its best epoch, and its task.

    The model computes in the run's precision, so on an equal CPU it predicts what it did then.
    Its weights must not be moved to another device or type.

    Args:
        folder: such as `multirun/train/<name>` or `multirun/<study>/<trial>`.

    Raises:
        RecordError: no run was started in this folder, or its config cannot be read.
        ConfigError: the config was edited, or is of another version.
        CheckpointError: the run has left no weights yet, or they are damaged or of another model.
    """
    folder = Path(folder)
    config = configuration.build(_config(folder))
    weights = _trained(folder) / "best_model.pth"
    if not weights.is_file():
        raise CheckpointError(
            f"{weights}: not there; a run leaves it when it ends, after one epoch at least"
        )
    task = build_task(config.data, seed=config.root.seed)
    model = build_model(replace(config.model, init_from=None), task).eval()
    FlatParams(model, compute_dtype(config.trainer.precision))
    load_weights(model, weights)
    return LoadedRun(model, task)


def _trained(folder: Path) -> Path:
    """Return the folder with the weights: a trial may have a cached result of another run."""
    return Run.open(folder).trained.folder if (folder / layout.RECORD).exists() else folder


def _config(folder: Path) -> DictConfig:
    path = folder / layout.CONFIG
    if not path.is_file():
        runs = sorted(path.parent.name for path in folder.glob("*/config.yaml"))
        way_out = f"it has those of {', '.join(runs)}" if runs else "give the folder of a run"
        raise RecordError(f"{folder}: not the folder of a run, it has no config.yaml; {way_out}")
    tree = read_config(path)
    if "model" not in tree:
        raise RecordError(f"{path}: not the config of a training")
    return tree
