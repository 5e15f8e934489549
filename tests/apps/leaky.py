"""An app that says secrets in every way: it prints, logs, configures and raises them."""

import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from hrm_sweep import trial


@dataclass
class Config:
    x: int = 0
    database: str = "postgresql://me:${oc.env:CANARY}@host/db"
    password: str = "${oc.env:CANARY}"
    hub: str = "Bearer ${oc.env:CANARY}"


ConfigStore.instance().store(name="leaky", node=Config)


@hydra.main(version_base=None, config_path=None, config_name="leaky")
def main(cfg: DictConfig) -> float:
    handle, token = trial.current(), os.environ["MLFLOW_TRACKING_TOKEN"]
    secret = f"password={cfg.password}"
    handle.set_status(secret)
    handle.set_tags(note=secret)
    handle.log_dataset(name=cfg.database, train_size=1, eval_size=1, digest="d")
    handle.log({"objective": cfg.x}, step=1)
    print(secret, token, flush=True)
    print(cfg.database, cfg.hub, file=sys.stderr, flush=True)
    logging.getLogger(__name__).warning("%s", secret)
    os.write(1, f"{token}\n".encode())
    subprocess.run(
        ["echo", f"curl -u me:{cfg.password} https://host?sig={cfg.password}"], check=True
    )
    if cfg.x == 2:
        Path("said").touch()
        time.sleep(600)
    if cfg.x == 1:
        raise ValueError(f"{cfg.database} refused {token}, {secret}")
    return float(cfg.x)


if __name__ == "__main__":
    main()
