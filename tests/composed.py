"""The config of the shipped app, and what makes its commands short."""

from __future__ import annotations

import hydra

from hrm_sweep.compat.hydra import VERSION_BASE
from hrm_sweep.hrm import config

IN_SECONDS = (
    "trainer=smoke",
    "hidden_dim=32",
    "data.num_puzzles=8",
    "data.num_eval_puzzles=4",
    "study.n_trials=2",
)
"""Put behind a documented command that trains: what it does in seconds instead of minutes."""


def composed(*overrides: str) -> config.Config:
    config.register_resolvers()
    with hydra.initialize_config_dir(str(config.CONF), **VERSION_BASE):
        return config.build(hydra.compose("config", list(overrides)))
