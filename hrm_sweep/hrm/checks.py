"""Rules that the configs of models, tasks and training share. PyTorch is not imported."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.errors import ConfigError
from hrm_sweep.keys import schema

MISSING: Any = schema.MISSING
choice = schema.choice


def at_least(key: str, value: int, lowest: int) -> None:
    """Raise ConfigError unless `value` >= `lowest`."""
    if value < lowest:
        raise ConfigError(key, value, f"must be at least {lowest}", f"try {key}={lowest}")


def not_negative(key: str, value: float) -> None:
    """Raise ConfigError unless `value` is finite and >= 0."""
    if not (value >= 0 and math.isfinite(value)):
        raise ConfigError(key, value, "must be finite and at least 0")


def positive(key: str, value: float, way_out: str) -> None:
    """Raise ConfigError unless `value` is finite and > 0."""
    if not (value > 0 and math.isfinite(value)):
        raise ConfigError(key, value, "must be finite and above 0", way_out)


def share(key: str, value: float) -> None:
    """Raise ConfigError unless 0 <= `value` <= 1."""
    if not 0 <= value <= 1:
        raise ConfigError(key, value, "must be a share from 0 to 1")


def below_one(key: str, value: float, way_out: str = "") -> None:
    """Raise ConfigError unless 0 <= `value` < 1."""
    if not 0 <= value < 1:
        raise ConfigError(key, value, "must be at least 0 and less than 1", way_out)


def check_choices(config: Any) -> None:
    """Raise ConfigError unless each field declared by `choice` has one of its options."""
    for field in dataclasses.fields(config):
        if options := field.metadata.get("choices"):
            _one_of(field.name, getattr(config, field.name), options)


def _one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `choices`."""
    if value not in choices:
        rule, way_out = (
            f"must be one of {', '.join(choices)}",
            formatting.did_you_mean(value, choices),
        )
        raise ConfigError(key, value, rule, way_out)
