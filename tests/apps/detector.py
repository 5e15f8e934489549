"""An app with a structured config, some of whose keys are called like groups of ours."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig


class Colour(Enum):
    RED = 1
    BLUE = 2


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
    seed: int = 0
    colour: Colour = Colour.RED
    data: Path = Path("/data")
    unset: str = "${oc.env:SET_NOWHERE}"
    open: str = MISSING
    password: str = "s3cret,Part2 Part3"
    servers: list[Any] = field(default_factory=lambda: [{"token": 1, "api_key": 12345678}])
    listed: list[Any] = field(default_factory=lambda: [Colour.BLUE, "${unset}", "${seed}"])
    returns: str = "float"


ConfigStore.instance().store(name="detector", node=Config)


@hydra.main(version_base=None, config_path=None, config_name="detector")
def main(cfg: DictConfig) -> Any:
    value = cfg.tracking.iou + cfg.study.depth + cfg.tracking_weight + cfg.hydration
    if cfg.returns == "tensor":
        import torch

        return torch.tensor(value)
    return {
        "float": value,
        "np.float32": np.float32(value),
        "np.int64": np.int64(value),
        "0-d array": np.array(value),
        "with a note": {"objective": value, "note": "well", "box": [1, 2]},
        "optional": {"objective": value + cfg.seed} | ({"first": 3.0} if cfg.seed == 0 else {}),
        "pair": (value, 1.0),
        "text": str(value),
        "array": np.array([value, value]),
    }[cfg.returns]


if __name__ == "__main__":
    main()
