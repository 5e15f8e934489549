"""An app of Lightning that knows nothing of studies: all that it uses comes from its config."""

from __future__ import annotations

import importlib
import os
import signal
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig


def line_module(package: Any, cfg: DictConfig) -> Any:
    """Learns y = 2 x, in two steps of each epoch."""

    class Line(package.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def loss(self, batch: Any) -> torch.Tensor:
            (x,) = batch
            return torch.nn.functional.mse_loss(self.layer(x), 2 * x)

        def on_train_epoch_start(self) -> None:
            mark = Path(f"died-{cfg.lr}")
            if self.current_epoch == cfg.die_at and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        def training_step(self, batch: Any) -> torch.Tensor:
            loss = self.loss(batch)
            self.log("train/loss", loss)
            self.log("train/epoch_loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: Any) -> None:
            self.log("val/loss", self.loss(batch))

        def test_step(self, batch: Any) -> None:
            self.log("test/loss", self.loss(batch))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=cfg.lr)

    return Line()


@hydra.main(version_base=None, config_path="lightning", config_name="train")
def main(cfg: DictConfig) -> float:
    package = importlib.import_module(cfg.package)
    package.seed_everything(cfg.seed, verbose=False)
    data = torch.utils.data.TensorDataset(torch.linspace(-1, 1, 8).unsqueeze(1))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    loggers = [instantiate(each) for each in (cfg.get("logger") or {}).values()]
    callbacks = [instantiate(each) for each in cfg.callbacks.values()]
    trainer = instantiate(cfg.trainer, logger=loggers, callbacks=callbacks)
    model = line_module(package, cfg)
    trainer.fit(model, loader, loader, ckpt_path=cfg.ckpt_path)
    judged = float(trainer.callback_metrics["val/loss"])
    trainer.test(model, loader, verbose=False)
    return judged


if __name__ == "__main__":
    main()
