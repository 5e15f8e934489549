"""An app that calls MLflow itself, in the ways of which MLflow's guide speaks."""

import os
import signal
from pathlib import Path

import hydra
import mlflow
import numpy as np
from omegaconf import DictConfig

from hrm_sweep import trial


def runs_of_its_own(x: int) -> None:
    with mlflow.start_run(run_name=f"outer {x}"):
        mlflow.log_metric("height", x)
        with mlflow.start_run(run_name=f"inner {x}", nested=True):
            mlflow.log_metric("depth", x)


def left_open(x: int) -> None:
    mlflow.log_metric("height", x)
    if x == 2:
        raise ValueError("this one raises")


def autolog(x: int) -> None:
    from sklearn.linear_model import Ridge

    mlflow.sklearn.autolog(log_models=False, log_datasets=False)
    with mlflow.start_run(run_id=trial.current().mlflow_run_id):
        Ridge(alpha=x).fit(np.eye(3), np.arange(3))


def killed_once(x: int) -> None:
    with mlflow.start_run(run_id=trial.current().mlflow_run_id):
        attempt = len(list(Path().glob(f"{x}.*")))
        mlflow.log_metric(f"attempt {attempt}", x)
        if attempt == 0:
            Path(f"{x}.killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def artifact(x: int) -> None:
    mlflow.log_text(str(x), "x.txt")


CALLS = [runs_of_its_own, left_open, autolog, killed_once, artifact]


@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> float:
    {calls.__name__: calls for calls in CALLS}[cfg.calls](cfg.x)
    return float(cfg.x)


if __name__ == "__main__":
    main()
