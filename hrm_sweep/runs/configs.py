"""Composed configs as plain values and as YAML, and configs read back from run folders."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # OmegaConf brings it
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrm_sweep.compat.omegaconf import unresolved, yaml_dumper
from hrm_sweep.errors import RecordError


def read_config(path: Path) -> DictConfig:
    """Return the config in a YAML file.

    Raises:
        RecordError: there is no such file, or no config in it.
    """
    try:
        tree = OmegaConf.load(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise RecordError(f"{path}: cannot be read ({reason})") from None
    if not isinstance(tree, DictConfig):
        raise RecordError(f"{path}: cannot be read (it holds no config)")
    return tree


def to_plain(value: Any) -> Any:
    """Return a config as JSON values: interpolations resolved, enums by name, the rest as text.

    Unresolvable interpolations are kept as text.
    """
    if isinstance(value, DictConfig):
        return {_name(key): _inner(value, key) for key in value}
    if isinstance(value, ListConfig):
        return [_inner(value, index) for index in range(len(value))]
    if isinstance(value, dict):  # what a resolver returned
        return {_name(key): to_plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(inner) for inner in value]
    if isinstance(value, Enum):
        return value.name
    return value if isinstance(value, (str, int, float, type(None))) else str(value)


def typed_overrides(hydra: Any, kind: str) -> list[str]:
    """Return the overrides in Hydra's own config as they were typed, interpolations unresolved.

    Args:
        hydra: The node `hydra` of a composed config.
        kind: "hydra" or "task".
    """
    overrides = OmegaConf.to_container(hydra.overrides[kind], resolve=False)
    assert isinstance(overrides, list)
    return [str(text) for text in overrides]


def group_choices(hydra: Any) -> dict[str, str]:
    """Return the option chosen of each config group of the app, without those of Hydra itself.

    Args:
        hydra: The node `hydra` of a composed config.
    """
    in_order = reversed(list(hydra.runtime.choices.items()))  # Hydra's begins with the last
    chosen = {str(group): option for group, option in in_order}
    own = {name: option for name, option in chosen.items() if name.partition("/")[0] != "hydra"}
    return {group: str(option) for group, option in own.items() if option is not None}


def to_yaml(tree: Any) -> str:
    """Return a plain tree as `OmegaConf.to_yaml` writes it, whatever its texts look like."""
    text: str = yaml.dump(
        tree,
        Dumper=yaml_dumper(),
        default_flow_style=False,
        allow_unicode=True,
        sort_keys=False,
    )
    return text


def _inner(parent: Any, key: Any) -> Any:
    try:
        return to_plain(parent[key])
    except OmegaConfBaseException:
        return unresolved(parent, key)


def _name(key: Any) -> str:
    return key.name if isinstance(key, Enum) else str(key)
