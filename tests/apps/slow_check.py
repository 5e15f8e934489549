"""A check of configs that takes until somebody says that it may end."""

import time
from pathlib import Path

from omegaconf import DictConfig


def check(cfg: DictConfig) -> None:
    Path("checks").touch()
    while not Path("checked").exists():
        time.sleep(0.02)
