"""One training, one seed, one folder. A single run and a trial of a study are this."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from hrm_sweep import config as configuration
from hrm_sweep import files
from hrm_sweep.config import Config
from hrm_sweep.learning import checkpoint
from hrm_sweep.learning.data import build_task
from hrm_sweep.learning.evaluate import examples
from hrm_sweep.learning.model import build_model
from hrm_sweep.learning.trainer import Trainer
from hrm_sweep.study import trial

EXAMPLES_PER_PATTERN = 3
ARTIFACTS = (
    "best_model.pth",
    "best_model.pth.sha256",
    "final_model.pth",
    "final_model.pth.sha256",
    "training_history.json",
    "predictions.json",
    "training_metrics.png",
    "prediction_vs_groundtruth.png",
)


def task(cfg: DictConfig) -> dict[str, float]:
    """The task function that Hydra calls."""
    return run(configuration.build(cfg), trial.current())


def run(config: Config, handle: trial.Trial) -> dict[str, float]:
    """Trains one model; its best and final weights, history and examples go into the run's folder.

    Returns:
        The evaluation metrics of the best epoch: the one with the best `trainer.monitor`, of equal
        ones that with the lower loss, then the earlier.

    Raises:
        Diverged: a loss is not finite; history and the best weights so far are kept.
    """
    torch.manual_seed(config.root.seed)
    puzzles = build_task(config.data, seed=config.root.seed)
    trainer = Trainer(
        build_model(config.model, puzzles),
        puzzles,
        config.optimizer,
        config.trainer,
        batch_size=config.root.batch_size,
        seed=config.root.seed,
    )
    handle.dataset(**puzzles.describe())
    handle.expect(config.root.epochs)
    handle.artifact(*ARTIFACTS)
    history: list[dict[str, Any]] = []
    try:
        for measurement in trainer.epochs():
            history.append({"epoch": measurement.step, **measurement.values})
            handle.log(measurement.values, step=measurement.step)
    finally:
        _leave(trainer, history, handle.folder)
    return {name: value for name, value in trainer.best.values.items() if name.startswith("eval/")}


def _leave(trainer: Trainer, history: list[dict[str, Any]], folder: Path) -> None:
    """What a run has to show, however it ended."""
    files.write_json(folder / "training_history.json", history)
    if trainer.best.weights is None:
        return
    _save(folder / "final_model.pth", trainer.weights(), trainer.epoch, history[-1])
    _save(folder / "best_model.pth", trainer.best.weights, trainer.best.epoch, trainer.best.values)
    trainer.model.load_state_dict(trainer.best.weights)  # the pictures show the best epoch
    shown = examples(trainer.model, trainer.task, per_pattern=EXAMPLES_PER_PATTERN)
    files.write_json(folder / "predictions.json", shown)


def _save(path: Path, weights: dict[str, torch.Tensor], epoch: int, values: dict[str, Any]) -> None:
    checkpoint.save(path, {"model": weights, "epoch": epoch, "values": dict(values)})
