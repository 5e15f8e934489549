"""An app that keeps runs in MLflow by itself, in the database that its study is exported to."""

import hydra
import mlflow
from omegaconf import DictConfig


@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> float:
    mlflow.set_tracking_uri(cfg.uri)
    with mlflow.start_run(run_name=f"own {cfg.x}"):
        for step in range(3):
            mlflow.log_metric("height", cfg.x / (1 + step), step=step)
    return float(cfg.x)


if __name__ == "__main__":
    main()
