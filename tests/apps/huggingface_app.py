"""An app of Hugging Face's Trainer with the two lines that a study needs; its model is tiny."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback
from transformers import TrainingArguments as Arguments

from hrm_sweep import trial
from hrm_sweep.huggingface import TrialCallback, last_checkpoint


class Death(TrainerCallback):
    """Kills the process once, when an epoch begins."""

    def __init__(self, epoch: int | None) -> None:
        self.epoch = epoch

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.epoch == self.epoch and not Path("died").exists():
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def examples() -> list[dict[str, Any]]:
    """Eight sentences; the label is whether a word is in them."""
    words = torch.arange(8).reshape(8, 1).repeat(1, 4)
    return [{"input_ids": row, "labels": int(row[0] > 3)} for row in words]


def make_trainer(folder: Path, **settings: Any) -> Trainer:
    """Return a trainer whose model is drawn at random."""
    settings = {"eval_strategy": "epoch", "save_strategy": "epoch", "logging_steps": 1} | settings
    arguments = Arguments(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        use_cpu=True,
        disable_tqdm=True,
        **settings,
    )
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=8,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
            max_position_embeddings=8,
            attn_implementation="eager",
        )
    )
    data: Any = examples()
    return Trainer(
        model, arguments, train_dataset=data, eval_dataset=data, callbacks=[TrialCallback()]
    )


@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> float:
    trainer = make_trainer(trial.current().folder, num_train_epochs=3, learning_rate=cfg.lr)
    trainer.add_callback(Death(cfg.get("die_at")))
    trainer.train(resume_from_checkpoint=last_checkpoint())
    return float(trainer.evaluate()["eval_loss"])


if __name__ == "__main__":
    main()
