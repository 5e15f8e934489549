"""One training, one seed, one folder. A single run and a trial of a study are this."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig

from hrm_sweep import config as configuration
from hrm_sweep.config import Config
from hrm_sweep.learning.data import build_task
from hrm_sweep.learning.model import build_model
from hrm_sweep.learning.trainer import Trainer
from hrm_sweep.study import trial

EXAMPLES_PER_PATTERN = 2
ARTIFACTS = (
    "best_model.pth",
    "final_model.pth",
    "training_history.json",
    "predictions.json",
    "training_metrics.png",
    "prediction_vs_groundtruth.png",
)


def task(cfg: DictConfig) -> dict[str, float]:
    """The task function that Hydra calls: trains once, returns the best epoch's values."""
    return run(configuration.build(cfg), trial.current())


def run(config: Config, handle: trial.Trial) -> dict[str, float]:
    """Trains one model and leaves its best and final weights, history and examples in the folder.

    Returns:
        The evaluation metrics of the best epoch: the one with the best `trainer.monitor`, of equal
        ones that with the lower loss, then the earlier.
    """
    torch.set_num_threads(config.trainer.threads)
    torch.manual_seed(config.root.seed)
    puzzles = build_task(config.data, seed=config.root.seed)
    model = build_model(config.model, puzzles)
    trainer = Trainer(
        model,
        puzzles,
        config.optimizer,
        config.trainer,
        batch_size=config.root.batch_size,
        seed=config.root.seed,
    )
    handle.artifact(*ARTIFACTS)
    handle.dataset(**puzzles.describe())
    handle.expect(config.root.epochs)

    history: list[dict[str, Any]] = []
    best: dict[str, float] = {}
    for measurement in trainer.epochs():
        history.append({"epoch": measurement.step, **measurement.values})
        handle.log(measurement.values, step=measurement.step)
    return best
