"""An app with a structured config, some of whose keys are called like groups of ours."""

from dataclasses import dataclass, field
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig


@dataclass
class Tracking:
    iou: float = 0.5


@dataclass
class Study:
    depth: float = 3.0


@dataclass
class Config:
    tracking: Tracking = field(default_factory=Tracking)
    study: Study = field(default_factory=Study)
    tracking_weight: float = 0.0
    hydration: float = 0.0


ConfigStore.instance().store(name="detector", node=Config)


@hydra.main(version_base=None, config_path=None, config_name="detector")
def main(cfg: DictConfig) -> Any:
    return cfg.tracking.iou + cfg.study.depth + cfg.tracking_weight + cfg.hydration


if __name__ == "__main__":
    main()
