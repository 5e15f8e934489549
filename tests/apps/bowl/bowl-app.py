"""An app whose configs were written for Hydra's Optuna sweeper; one override is changed in each."""

from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig
from optuna.trial import Trial


@hydra.main(version_base=None, config_path="conf", config_name="single")
def main(cfg: DictConfig) -> Any:
    if cfg.fails:
        raise RuntimeError("this app was told to fail")
    far = (cfg.x - 5) ** 2 + (cfg.y - 5) ** 2
    near = cfg.x**2 + cfg.y**2 + cfg.get("depth", 0.0) ** 2 + cfg.get("z", 0.0) ** 2
    named = {"near": near, "far": far}
    returns = {"both": (near, far), "array": np.array([near, far]), "dict": named}
    return returns.get(cfg.returns, near)


def add_z_and_depth(cfg: DictConfig, trial: Trial) -> None:
    x = trial.params["x"]
    trial.suggest_float("z", x - cfg.margin, x + cfg.margin)
    if trial.suggest_categorical("+form", ["flat", "deep"]) == "deep":
        trial.suggest_float("+depth", 0.0, 1.0)


if __name__ == "__main__":
    main()
