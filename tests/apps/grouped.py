"""An app with a structured config and a group, and nothing of ours in it."""

from dataclasses import dataclass, field
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig


@dataclass
class Database:
    port: int = 3306


@dataclass
class Config:
    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"db": "mysql"}])
    timeout: int = 10
    db: Any = None


store = ConfigStore.instance()
store.store(name="grouped", node=Config)
store.store(group="db", name="mysql", node=Database)
store.store(group="db", name="pg", node=Database(5432))


@hydra.main(version_base=None, config_path=None, config_name="grouped")
def main(cfg: DictConfig) -> float:
    return check(cfg.timeout)


def check(timeout: int) -> float:
    if timeout == 13:
        raise ValueError("unlucky")
    return float(timeout)


if __name__ == "__main__":
    main()
