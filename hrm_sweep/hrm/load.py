"""A finished run as Python objects: its model with the weights that it left, and its task."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from hrm_sweep.commands.resolve import find, resolve_run
from hrm_sweep.errors import CheckpointError, InputError, RecordError, StudyError
from hrm_sweep.hrm import config as configuration
from hrm_sweep.hrm.backends.backend import Backend
from hrm_sweep.hrm.backends.eager import EagerBackend
from hrm_sweep.hrm.backends.select import recorded_backend, select_backend, use_backend
from hrm_sweep.hrm.config import Config
from hrm_sweep.hrm.data import build_task
from hrm_sweep.hrm.data.task import Batch, Task
from hrm_sweep.hrm.description import APP
from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.training.checkpoint import load_weights
from hrm_sweep.hrm.training.evaluate import evaluate, other_halting, solve
from hrm_sweep.hrm.training.optim import compute_dtype
from hrm_sweep.hrm.training.params import FlatParams
from hrm_sweep.runs import layout
from hrm_sweep.runs.app import register
from hrm_sweep.runs.configs import read_config
from hrm_sweep.runs.models import why_missing
from hrm_sweep.runs.recipe import nested
from hrm_sweep.runs.run import Run
from hrm_sweep.system.process import hrm_sweep_command

Weights = Literal["best", "final"]


class LoadedRun(NamedTuple):
    """`model, task = load_run(folder)`, or by name."""

    model: ACT
    task: Task

    def predict(self, batch: Batch) -> Tensor:
        """Return the token at each place, int64 [B, T], where the model halts.

        `task.picture` turns a row into a grid.
        """
        return solve(self.model, batch).predictions

    def evaluate(self) -> dict[str, float]:
        """Return the metrics of the held-out puzzles, those that the run recorded."""
        return evaluate(self.model, self.task) | other_halting(self.model, self.task)


def load_run(folder: str | Path, *, weights: Weights = "best") -> LoadedRun:
    """Return the model of a run with the weights of its best or its final epoch, and its task.

    The model computes as the run did: with its kernels, in its precision, on its number of threads,
    to which this process is set. So on the same machine it predicts the same, bit for bit; where
    that cannot be, a warning says why. The weights must not be moved to another device or type.

    Args:
        folder: of a run, or a name as commands take it: a study (its best trial), STUDY/TRIAL (of
            one with repeats its first), STUDY/TRIAL/REPEAT, a single run, a run's id in MLflow.
        weights: which of the two that a run leaves.

    Raises:
        StudyError: there is no such study or run; the message says what is there.
        RecordError: no run was started in this folder, or its record was edited.
        ConfigError: the config is of another version.
        CheckpointError: the run has left no weights yet, or they are damaged or of another model.
    """
    folder = _folder_of(folder)
    run, tree = _recorded(folder)
    file = (run.folder if run else folder) / f"{weights}_model.pth"
    if removed := why_missing(file):
        again = hrm_sweep_command("reproduce", str(folder))
        raise CheckpointError(f"{file}: was {removed} to free space; to train it again: {again}")
    config = configuration.build(tree)
    if not file.is_file():
        raise CheckpointError(
            f"{file}: not there; a run leaves it when it ends, after one epoch at least"
        )
    facts = run.facts if run else {}
    torch.set_num_threads(config.trainer.threads)
    task = build_task(config.data, seed=config.root.seed)
    model = build_model(replace(config.model, init_from=None), task).eval()
    backend = _set_backend(model, task, config, facts.get("compiled"))
    FlatParams(model, compute_dtype(facts.get("precision", config.trainer.precision)))
    load_weights(model, file)
    for difference in _differences(run, task, backend):
        warnings.warn(f"{folder}: {difference}; predictions may differ", stacklevel=2)
    return LoadedRun(model, task)


def _folder_of(named: str | Path) -> Path:
    """Return the folder of a run that the user named; one without a record names itself."""
    folder = Path(named)
    if folder.is_dir() and not (folder / layout.RECORD).exists() and not _is_known(str(named)):
        return folder
    register(APP)
    run = resolve_run(str(named))
    return run.repeats[0].folder if run.repeats else run.folder


def _is_known(name: str) -> bool:
    """Return whether a study or run has the name; a trial whose record is gone has none."""
    try:
        return find(name) is not None
    except StudyError:
        return False


def _set_backend(model: ACT, task: Task, config: Config, recorded: str | None) -> Backend:
    """Let the recorded backend compute the model; without a record, the one that would train it."""
    if recorded is None:
        return select_backend(config.trainer, model, len(task.train), config.data.batch_size)
    try:
        backend = recorded_backend(recorded)
    except InputError:
        backend = EagerBackend()
    use_backend(backend, model, config.trainer.threads)
    return backend


def _differences(run: Run | None, task: Task, backend: Backend) -> Iterator[str]:
    """Yield in what the loaded run is not what it was."""
    then = run.facts.get("compiled", backend.name) if run else backend.name
    if then != backend.name:
        here = "PyTorch's own operators" if backend.name == EagerBackend.name else backend.name
        yield f"the run computed with the kernels {then}, which cannot be had here, now {here}"
    digest = run.dataset.get("digest") if run else None
    if digest not in (None, task.describe()["digest"]):
        yield "its puzzles are not those of the run: the data set has changed"


def _recorded(folder: Path) -> tuple[Run | None, DictConfig]:
    """Return the run that trained and its config, from the record; without one, from config.yaml.

    A trial may have the cached result of another run, which then is the one that trained.
    """
    if not (folder / layout.RECORD).exists():
        return None, _of_a_training(folder / layout.CONFIG, _config_file(folder))
    run = Run.open(folder).trained
    return run, _of_a_training(folder / layout.RECORD, OmegaConf.create(nested(run.config)))


def _of_a_training(path: Path, config: DictConfig) -> DictConfig:
    if "model" not in config:
        raise RecordError(f"{path}: not the config of a training")
    return config


def _config_file(folder: Path) -> DictConfig:
    path = folder / layout.CONFIG
    if not path.is_file():
        runs = sorted(path.parent.name for path in folder.glob("*/config.yaml"))
        way_out = f"it has those of {', '.join(runs)}" if runs else "give the folder of a run"
        raise RecordError(f"{folder}: not the folder of a run, it has no config.yaml; {way_out}")
    return read_config(path)
