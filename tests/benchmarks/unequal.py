"""Trials of unequal length that do nothing: what their workers wait for is the engine."""

import random
import time

import hydra
from omegaconf import DictConfig

from hrm_sweep import trial


@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> float:
    seconds = cfg.get("seconds") or random.Random(cfg.x).choice([0.5, 1.0, 2.0, 4.0])
    end = time.monotonic() + seconds
    step = 0
    while time.monotonic() < end:
        step += 1
        trial.current().log({"objective": 1 / step}, step=step)
        time.sleep(0.1)
    return 1 / step


if __name__ == "__main__":
    main()
