"""A trial that does nothing but log twenty epochs of three metrics, as an app of hrm_sweep."""

import hydra
from omegaconf import DictConfig

from hrm_sweep import trial

EPOCHS = 20


@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> float:
    handle = trial.current()
    for epoch in range(1, EPOCHS + 1):
        loss = (cfg.x % 7 - 3) ** 2 + 1 / epoch
        handle.log({"objective": loss, "loss": loss, "accuracy": 1 - 1 / epoch}, step=epoch)
    return float((cfg.x % 7 - 3) ** 2)


if __name__ == "__main__":
    main()
