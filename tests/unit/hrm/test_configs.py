from __future__ import annotations

from dataclasses import fields

import pytest
from omegaconf import OmegaConf
from paths import ROOT
from small import adamw_config, hrm_config, trainer_config, transformer_config, trm_config

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.models.configs import MODELS
from hrm_sweep.hrm.training.configs import OPTIMIZERS, EarlyStoppingConfig

CONF = ROOT / "conf"


@pytest.mark.parametrize(
    ("build", "changes", "words"),
    [
        pytest.param(
            hrm_config,
            {"hidden_dim": 100, "num_heads": 8},
            "hidden_dim=100: must be a multiple of num_heads=8; "
            "try hidden_dim=96 or 112, or num_heads=5",
            id="heads do not divide, and rope needs pairs",
        ),
        pytest.param(
            hrm_config,
            {"hidden_dim": 100, "num_heads": 8, "pos_encodings": "learned"},
            "hidden_dim=100: must be a multiple of num_heads=8; "
            "try hidden_dim=96 or 104, or num_heads=5",
            id="heads do not divide",
        ),
        pytest.param(
            transformer_config,
            {"hidden_dim": 12, "num_heads": 4},
            "hidden_dim=12: num_heads=4 makes heads of odd size, and rope rotates pairs; "
            "try hidden_dim=8 or 16, or num_heads=3",
            id="heads of odd size",
        ),
        pytest.param(
            hrm_config,
            {"hidden_dim": 3, "num_heads": 2},
            "hidden_dim=3: must be a multiple of num_heads=2; try hidden_dim=4",
            id="nothing fits below",
        ),
        pytest.param(
            trm_config,
            {"puzzle_emb_ndim": 40, "puzzle_emb_len": 2},
            "puzzle_emb_len=2: must hold puzzle_emb_ndim=40 with hidden_dim=16 per position; "
            "try puzzle_emb_len=3",
            id="too few positions for the puzzle embedding",
        ),
        pytest.param(
            transformer_config,
            {"puzzle_emb_ndim": 0, "puzzle_emb_len": 16},
            "puzzle_emb_len=16: needs a puzzle embedding, but puzzle_emb_ndim=0; "
            "try puzzle_emb_len=null",
            id="positions for no puzzle embedding",
        ),
        pytest.param(
            trm_config,
            {"halting": "q-learning"},
            "halting=q-learning: must be one of q_learning, bce; did you mean q_learning?",
            id="misspelt",
        ),
        pytest.param(
            trm_config,
            {"pos_encodings": "non"},
            "pos_encodings=non: must be one of rope, learned, none; did you mean none?",
            id="misspelt positions",
        ),
        pytest.param(
            hrm_config,
            {"H_cycles": 0},
            "H_cycles=0: must be at least 1; try H_cycles=1",
            id="no cycles",
        ),
        pytest.param(
            trm_config,
            {"eval_max_steps": 0},
            "eval_max_steps=0: must be at least 1; try eval_max_steps=1",
            id="no segments in evaluation",
        ),
        pytest.param(
            hrm_config,
            {"eval_halting": "earlier"},
            "eval_halting=earlier: must be one of never, early; did you mean early?",
            id="halting in evaluation",
        ),
        pytest.param(
            hrm_config,
            {"halt_exploration_prob": 1.5},
            "halt_exploration_prob=1.5: must be a share from 0 to 1",
            id="a share above 1",
        ),
        pytest.param(
            hrm_config,
            {"expansion": float("nan")},
            "expansion=nan: must be finite and above 0; try expansion=4",
            id="not a number",
        ),
        pytest.param(
            adamw_config,
            {"lr": -1.0},
            "lr=-1.0: must be finite and above 0; try lr=1e-3",
            id="negative lr",
        ),
        pytest.param(
            adamw_config,
            {"lr": float("inf")},
            "lr=inf: must be finite and above 0; try lr=1e-3",
            id="inf lr",
        ),
        pytest.param(
            adamw_config,
            {"beta2": 1.0},
            "beta2=1.0: must be at least 0 and less than 1",
            id="beta2",
        ),
        pytest.param(
            adamw_config,
            {"max_grad_norm": 0.0},
            "max_grad_norm=0.0: must be above 0; null switches clipping off",
            id="clipping everything",
        ),
        pytest.param(
            trainer_config,
            {"precision": "fp16"},
            "precision=fp16: must be one of auto, fp32, bf16; did you mean bf16?",
            id="precision",
        ),
        pytest.param(
            trainer_config,
            {"batches": "publised"},
            "batches=publised: must be one of stream, published, padded; did you mean published?",
            id="batches",
        ),
        pytest.param(
            trainer_config,
            {"epochs": 0},
            "epochs=0: must be at least 1; try epochs=1",
            id="no epochs",
        ),
        pytest.param(
            trainer_config,
            {"eval_every": 0},
            "eval_every=0: must be at least 1; try eval_every=1",
            id="never an evaluation",
        ),
        pytest.param(
            trainer_config,
            {"ema": 1.0},
            "ema=1.0: must be at least 0 and less than 1; try ema=0.999",
            id="an average that never moves",
        ),
        pytest.param(
            EarlyStoppingConfig,
            {"patience": 0, "min_improvement": 0.0},
            "patience=0: must be at least 1; try patience=1",
            id="no patience at all",
        ),
    ],
)
def test_what_breaks_a_rule_is_said(build, changes, words):
    with pytest.raises(ConfigError) as error:
        build(**changes)
    assert str(error.value) == words


@pytest.mark.parametrize(
    ("group", "classes"),
    [pytest.param("model", MODELS, id="model"), pytest.param("optimizer", OPTIMIZERS, id="optim")],
)
def test_every_class_has_a_file_with_its_keys_and_no_others(group, classes):
    files = {path.stem: OmegaConf.load(path) for path in (CONF / group).glob("*.yaml")}
    assert files.keys() == classes.keys()
    for name, values in files.items():
        assert values.name == name
        assert set(values) == {field.name for field in fields(classes[name])}


@pytest.mark.parametrize("config", [hrm_config(), trm_config(), adamw_config(), trainer_config()])
def test_omegaconf_can_hold_the_class(config):
    schema = OmegaConf.structured(type(config))
    merged = OmegaConf.merge(schema, OmegaConf.structured(config))
    assert OmegaConf.to_object(merged) == config


def test_heads_matter_to_attention_alone():
    assert trm_config(hidden_dim=15, num_heads=2, puzzle_emb_ndim=15, mlp_t=True).hidden_dim == 15
