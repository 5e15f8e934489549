"""Fits a curve to noisy points by gradient descent: replace it by what you train.

`main` is an ordinary Hydra task. What `run.log` gets is on disk before it returns, has a curve in
the report and in MLflow, and can be pruned; what `main` returns is what a trial is judged by.
"""

import logging
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from hrm_sweep import trial

log = logging.getLogger(__name__)
Array = NDArray[Any]


def features(model: DictConfig, x: Array) -> Array:
    """Return what a model computes of each point, shape [points, weights]."""
    if model.name == "polynomial":
        return np.polynomial.legendre.legvander(x, model.degree)
    angles = np.outer(x, np.arange(1, model.num_waves + 1)) * np.pi / 2
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def points(num_points: int, noise: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return x from -1 to 1, and y: a wave with noise."""
    x = rng.uniform(-1, 1, num_points)
    return x, np.sin(4 * x) + rng.normal(0, noise, num_points)


def load(checkpoint: Path, last_step: int) -> tuple[int, Array] | None:
    """Return step and weights of a checkpoint; None: there is none for a step of the record."""
    if not checkpoint.exists():
        return None
    kept = np.load(checkpoint)
    step = int(kept["step"])
    return (step, kept["weights"]) if step <= last_step else None


def save(checkpoint: Path, step: int, weights: Array) -> None:
    """Write a checkpoint whole: a kill leaves the old one or the new one."""
    temporary = checkpoint.with_suffix(".new.npz")
    np.savez(temporary, step=step, weights=weights)
    temporary.replace(checkpoint)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    """Train once, and return the loss on held-out points."""
    run, rng = trial.current(), np.random.default_rng(cfg.seed)
    run.set_num_steps(cfg.steps)  # for progress and the time that is left
    (x, y), (new_x, new_y) = (points(n, cfg.noise, rng) for n in (cfg.num_points, 200))
    inputs, new_inputs = features(cfg.model, x), features(cfg.model, new_x)
    checkpoint, loss = run.folder / "checkpoint.npz", float("nan")
    step, weights = load(checkpoint, run.last_step) or (0, np.zeros(inputs.shape[1]))
    while step < cfg.steps:
        step += 1
        error = inputs @ weights - y
        weights -= cfg.lr * 2 * inputs.T @ error / len(y)
        loss = float(np.mean((new_inputs @ weights - new_y) ** 2))
        run.log({"train/loss": float(np.mean(error**2)), "val/loss": loss}, step=step)
        save(checkpoint, step, weights)
    log.info("val/loss %.4g after %d steps", loss, step)
    return loss


if __name__ == "__main__":
    main()
