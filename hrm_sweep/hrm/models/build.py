"""Construction of a model from its config."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from torch import Tensor

from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.models.configs import HRMConfig, ModelConfig, TransformerConfig
from hrm_sweep.hrm.models.cores import HRM, TRM, TaskSizes, Transformer
from hrm_sweep.hrm.training.checkpoint import load_weights

log = logging.getLogger(__name__)


def build_model(config: ModelConfig, task: TaskSizes) -> ACT:
    """Return the model of `config` for `task`, initialized by torch's global generator.

    Raises:
        CheckpointError: `config.init_from` cannot be read or belongs to another model. Another
            number of identifiers is no difference.
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
        load_weights(model, Path(config.init_from), fit=partial(_fit_identifiers, model))
    return model


def _fit_identifiers(model: ACT, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with a puzzle embedding of as many identifiers as the model has.

    As published, if their number differs, every identifier starts with the mean of all.
    """
    name = "inner.puzzle_emb.weights"
    own, found = model.state_dict().get(name), weights.get(name)
    if own is None or found is None or found.ndim != 2 or len(found) == len(own):
        return weights
    log.info("%d puzzle embeddings start with the mean of %d", len(own), len(found))
    return weights | {name: found.mean(dim=0).expand(len(own), -1).clone()}
