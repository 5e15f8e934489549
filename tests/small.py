"""Configs of small models and short trainings, and a task of a few small puzzles."""

from __future__ import annotations

from typing import Any

from hrm_sweep.hrm.data import build_task
from hrm_sweep.hrm.data.configs import CopyIncrementConfig
from hrm_sweep.hrm.data.task import Task
from hrm_sweep.hrm.models.configs import HRMConfig, TransformerConfig, TRMConfig
from hrm_sweep.hrm.training.configs import (
    AdamAtan2Config,
    AdamWConfig,
    EarlyStoppingConfig,
    TrainerConfig,
)

_MODEL: dict[str, Any] = {
    "hidden_dim": 16,
    "num_heads": 2,
    "expansion": 2,
    "mlp_multiple_of": 8,
    "pos_encodings": "rope",
    "puzzle_emb_ndim": 16,
    "loss": "stablemax",
    "init_from": None,
}
_HALTING: dict[str, Any] = {
    "H_cycles": 2,
    "L_cycles": 2,
    "L_layers": 1,
    "halt_max_steps": 3,
    "eval_max_steps": None,
    "halt_exploration_prob": 0.0,
    "eval_halting": "early",
}
_OPTIMIZER: dict[str, Any] = {
    "lr": 1e-2,
    "lr_min_ratio": 0.1,
    "warmup": 0.1,
    "weight_decay": 0.1,
    "beta1": 0.9,
    "beta2": 0.95,
    "max_grad_norm": 1.0,
    "puzzle_emb_lr": 1e-2,
    "puzzle_emb_weight_decay": 0.1,
}


def hrm_config(**changes: Any) -> HRMConfig:
    values = {**_MODEL, **_HALTING, "H_layers": 1, "halting": "q_learning"}
    return HRMConfig(**{"name": "hrm", **values, **changes})


def trm_config(**changes: Any) -> TRMConfig:
    return TRMConfig(**{"name": "trm", **_MODEL, **_HALTING, "halting": "bce", **changes})


def transformer_config(**changes: Any) -> TransformerConfig:
    return TransformerConfig(**{"name": "transformer", **_MODEL, "num_layers": 2, **changes})


def adamw_config(**changes: Any) -> AdamWConfig:
    return AdamWConfig(**{"name": "adamw", **_OPTIMIZER, **changes})


def atan2_config(**changes: Any) -> AdamAtan2Config:
    return AdamAtan2Config(**{"name": "adam_atan2", **_OPTIMIZER, **changes})


def trainer_config(**changes: Any) -> TrainerConfig:
    values: dict[str, Any] = {
        "epochs": 3,
        "batches": "stream",
        "eval_every": 1,
        "precision": "fp32",
        "compile": "off",
        "threads": 1,
        "monitor": "eval/exact_match",
        "ema": None,
        "early_stopping": EarlyStoppingConfig(patience=None, min_improvement=0.0),
    }
    return TrainerConfig(**{**values, **changes})


def small_task(*, seed: int = 0, **changes: Any) -> Task:
    """Copy and increment on 2x2 grids, 9 tokens."""
    values: dict[str, Any] = {
        "batch_size": 4,
        "num_puzzles": 18,
        "num_eval_puzzles": 10,
        "canvas": 3,
        "grid": 2,
        "smallest_grid": 2,
        "patterns": {"copy": 1.0, "increment": 1.0},
        "identifiers": "per_pattern",
        "noise": 0.0,
        "curriculum": None,
        "balance": None,
        "recolour": list(range(10)),
    }
    config = CopyIncrementConfig(**{"name": "copy_increment", **values, **changes})
    return build_task(config, seed=seed)
