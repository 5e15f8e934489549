"""Construction of a model from its config."""

from __future__ import annotations

from pathlib import Path

from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.models.configs import HRMConfig, ModelConfig, TransformerConfig
from hrm_sweep.hrm.models.cores import HRM, TRM, TaskSizes, Transformer
from hrm_sweep.hrm.training.checkpoint import load_weights


def build_model(config: ModelConfig, task: TaskSizes) -> ACT:
    """Return the model of `config` for `task`, initialized by torch's global generator.

    Raises:
        CheckpointError: `config.init_from` cannot be read or belongs to another model.
    """
    if isinstance(config, TransformerConfig):
        model = ACT(Transformer(config, task), loss=config.loss)
    else:
        core = HRM(config, task) if isinstance(config, HRMConfig) else TRM(config, task)
        model = ACT(
            core,
            loss=config.loss,
            halting=config.halting,
            max_steps=config.halt_max_steps,
            eval_max_steps=config.eval_max_steps,
            exploration=config.halt_exploration_prob,
            eval_halting=config.eval_halting,
        )
    if config.init_from is not None:
        load_weights(model, Path(config.init_from))
    return model
