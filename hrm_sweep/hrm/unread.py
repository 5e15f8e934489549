"""Keys that a user has added to the config and that nothing reads."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import fields

from omegaconf import DictConfig, OmegaConf

from hrm_sweep import formatting
from hrm_sweep.hrm import config
from hrm_sweep.hrm.config import Config, RootConfig
from hrm_sweep.runs.configs import to_plain
from hrm_sweep.runs.recipe import flatten

READ = {*(each.name for each in (*fields(RootConfig), *fields(Config))), "hydra"}
"""Keys at the root of the config."""


def check(cfg: DictConfig) -> Config:
    """Check a config that is to run, and warn of what nothing reads; `hydra.sweeper.check`.

    Raises:
        InputError: see `hrm_sweep.hrm.config.check`.
    """
    checked = config.check(cfg)
    for line in describe_unread(cfg):
        warnings.warn(line, stacklevel=2)
    return checked


def describe_unread(cfg: DictConfig) -> Iterator[str]:
    """Yield a line for each key at the root that neither the app nor another key reads."""
    added = [str(key) for key in cfg if key not in READ]
    text = OmegaConf.to_yaml(cfg) if added else ""
    plain = to_plain(OmegaConf.masked_copy(cfg, sorted(READ & cfg.keys() - {"hydra"})))
    known = flatten(plain) if isinstance(plain, dict) else {}
    for key in added:
        if re.search(rf"\$\{{{re.escape(key)}[.}}\[]", text):
            continue
        near = formatting.did_you_mean(key, known)
        yield f"{key}: nothing reads this key; {near or 'see --help for all keys'}"
