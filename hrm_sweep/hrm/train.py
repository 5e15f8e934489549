"""One training, one seed, one folder. A single run and a trial of a study are this."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from hrm_sweep.errors import CheckpointError, Interrupted
from hrm_sweep.hrm import config as configuration
from hrm_sweep.hrm.config import Config
from hrm_sweep.hrm.data import build_task
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.training import checkpoint
from hrm_sweep.hrm.training.evaluate import examples, other_halting, submission
from hrm_sweep.hrm.training.phases import phase_name
from hrm_sweep.hrm.training.trainer import Trainer
from hrm_sweep.runs import handle as trial
from hrm_sweep.system import files, process

EXAMPLES_PER_PATTERN = 3
CHECKPOINT_SECONDS = 10.0
"""What a killed run loses at most, beside the epoch it was in."""
CHECKPOINTS = ("checkpoint_a.pth", "checkpoint_b.pth")
"""Written in turn, so that one is whole whatever happens to the other."""
ARTIFACTS = (
    "best_model.pth",
    "best_model.pth.sha256",
    "final_model.pth",
    "final_model.pth.sha256",
    "training_history.json",
    "predictions.json",
    "submission.json",
)
"""What a run may leave, beside its record; pictures are drawn from it later."""

log = logging.getLogger(__name__)

History = list[dict[str, Any]]


def task(cfg: DictConfig) -> dict[str, float]:
    """Train, as the task function that Hydra calls."""
    return run(configuration.check(cfg), trial.current())


def run(config: Config, handle: trial.RunHandle) -> dict[str, float]:
    """Trains one model; its best and final weights, history and examples go into the run's folder.

    A run whose folder has a checkpoint resumes from it, to the same numbers bit for bit.

    Returns:
        The evaluation metrics of the best epoch: the one with the best `trainer.monitor`, of equal
        ones that with the lower loss, then the earlier. With them the exact match under the other
        value of `model.eval_halting`.

    Raises:
        Diverged: a loss is not finite; history and the best weights so far are kept.
        Interrupted: the user asked for it; a checkpoint has been written.
    """
    trainer = make_trainer(config)
    handle.log_dataset(**trainer.task.describe())
    handle.set_num_steps(config.trainer.epochs)
    handle.set_tags(compiled=trainer.backend.name, precision=trainer.precision)
    history = _resume_from_checkpoint(trainer, handle.folder, handle.last_step)
    try:
        _train(trainer, history, handle)
    finally:
        _write_results(trainer, history, handle)
        handle.artifact(*(name for name in ARTIFACTS if (handle.folder / name).exists()))
    _remove_checkpoints(handle.folder)
    best = trainer.best.values.items()
    values = {name: value for name, value in best if name.startswith("eval/")}
    return values | other_halting(trainer.model, trainer.task)  # of the best weights


def make_trainer(config: Config) -> Trainer:
    """Model, task and trainer of a recipe; what they draw depends on its seed alone."""
    process.keep_freed_memory()
    torch.manual_seed(config.root.seed)
    puzzles = build_task(config.data, seed=config.root.seed)
    return Trainer(
        build_model(config.model, puzzles),
        puzzles,
        config.optimizer,
        config.trainer,
        batch_size=config.data.batch_size,
        seed=config.root.seed,
    )


def _train(trainer: Trainer, history: History, handle: trial.RunHandle) -> None:
    saved = time.monotonic()
    for measurement in trainer.epochs():
        history.append({"epoch": measurement.step, **measurement.values})
        try:
            handle.log(measurement.values, step=measurement.step)
        except Interrupted:
            _save_checkpoint(trainer, history, handle.folder)
            raise
        if time.monotonic() - saved >= CHECKPOINT_SECONDS:
            _save_checkpoint(trainer, history, handle.folder)
            saved = time.monotonic()


def _save_checkpoint(trainer: Trainer, history: History, folder: Path) -> None:
    name = CHECKPOINTS[0]
    if (folder / name).exists():  # replace the older one
        name = min(CHECKPOINTS, key=lambda name: _age(folder / name))
    checkpoint.save(folder / name, {"trainer": trainer.state(), "history": history})


def _age(path: Path) -> float:
    return path.stat().st_mtime_ns if path.exists() else 0


def _resume_from_checkpoint(trainer: Trainer, folder: Path, last_step: int) -> History:
    """Load the newest whole checkpoint and return the history up to it.

    Args:
        last_step: of the record; a checkpoint beyond it belongs to a record that is lost.

    Raises:
        CheckpointError: the checkpoint is whole, but of an optimizer that is no more.
    """
    found = []
    for path in (folder / name for name in CHECKPOINTS if (folder / name).exists()):
        try:
            content = checkpoint.load(path)
            found += [(path, content)] if content["trainer"]["epoch"] <= last_step else []
        except CheckpointError as error:
            log.warning("%s; an older checkpoint is used if there is one", error)
    if not found:
        return []
    path, newest = max(found, key=lambda each: each[1]["trainer"]["epoch"])
    try:
        trainer.load_state(newest["trainer"])
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    log.info("resumes after epoch %d", trainer.epoch)
    return newest["history"]


def _remove_checkpoints(folder: Path) -> None:
    for name in CHECKPOINTS:
        for path in (folder / name, folder / f"{name}.sha256"):
            path.unlink(missing_ok=True)


def _write_results(trainer: Trainer, history: History, handle: trial.RunHandle) -> None:
    """Write what a run leaves, however it ended."""
    folder = handle.folder
    epochs = [{**epoch, "is_best": epoch["epoch"] == trainer.best.epoch} for epoch in history]
    files.write_json(folder / "training_history.json", epochs)
    final, epoch, best = trainer.weights(), trainer.weights_epoch, trainer.best
    if best.epoch:
        reached = phase_name(best.values["eval/phase"])
        handle.set_tags(best_epoch=str(best.epoch), phase=reached)
    if epoch is not None and trainer.epoch == handle.last_step:
        handle.set_tags(weights=checkpoint.fingerprint(final))  # those that a repetition arrives at
    if best.weights is None:
        return
    values = next((row for row in history if row["epoch"] == epoch), {})
    _save(folder / "final_model.pth", final, epoch, values)
    _save(folder / "best_model.pth", best.weights, best.epoch, best.values)
    trainer.model.load_state_dict(best.weights)  # the pictures show the best epoch
    shown = examples(trainer.model, trainer.task, per_pattern=EXAMPLES_PER_PATTERN)
    files.write_json(folder / "predictions.json", shown)
    if (answers := submission(trainer.model, trainer.task)) is not None:
        files.write_json(folder / "submission.json", answers)


def _save(
    path: Path, weights: dict[str, torch.Tensor], epoch: int | None, values: dict[str, Any]
) -> None:
    """Weights as they were at the end of an epoch, with what it measured; None: amid an epoch."""
    checkpoint.save(path, {"model": weights, "epoch": epoch, "values": dict(values)})
