"""An app in the structure of popular templates: groups, paths, a search kept as a config.

It knows nothing of hrm_sweep, and fits a line by gradient descent.
"""

import os
from pathlib import Path

import hydra
import numpy as np
from omegaconf import DictConfig

os.environ.setdefault("PROJECT_ROOT", str(Path(__file__).resolve().parents[1]))


def fit(cfg: DictConfig) -> dict[str, float]:
    """Return the metrics of a line after `cfg.trainer.epochs` passes over the data."""
    rng = np.random.default_rng(cfg.seed)
    x = rng.normal(size=cfg.data.num_points)
    y = 3 * x + rng.normal(scale=cfg.data.noise, size=x.size)
    slope = rng.normal() if cfg.model.random_start else 0.0
    for _ in range(cfg.trainer.epochs):
        slope -= cfg.model.optimizer.lr * 2 * np.mean((slope * x - y) * x)
    error = float(np.mean((slope * x - y) ** 2))
    return {"val/loss": error, "val/acc_best": 1 / (1 + error)}


@hydra.main(version_base="1.3", config_path="../configs", config_name="train.yaml")
def main(cfg: DictConfig) -> float | None:
    """Return the metric that is optimized, if one is named."""
    metrics = fit(cfg)
    Path(cfg.paths.output_dir, "metrics.csv").write_text(f"val/loss,{metrics['val/loss']}\n")
    return metrics[cfg.optimized_metric] if cfg.optimized_metric else None


if __name__ == "__main__":
    main()
