"""The trial of logger.py as it is written for Hydra, its Optuna sweeper, joblib and MLflow."""

import hydra
import mlflow
from omegaconf import DictConfig

EPOCHS = 20


@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> float:
    mlflow.set_tracking_uri("sqlite:///mlruns/mlflow.db")
    mlflow.set_experiment("peer")
    with mlflow.start_run():
        mlflow.log_params({"x": cfg.x})
        for epoch in range(1, EPOCHS + 1):
            loss = (cfg.x % 7 - 3) ** 2 + 1 / epoch
            values = {"objective": loss, "loss": loss, "accuracy": 1 - 1 / epoch}
            mlflow.log_metrics(values, step=epoch)
    return float((cfg.x % 7 - 3) ** 2)


if __name__ == "__main__":
    main()
