"""Private names of OmegaConf, read in 2.3.1.

tests/unit/compat/test_omegaconf_canary.py holds each function to what is read here.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, ListConfig
from omegaconf._utils import get_omega_conf_dumper


def yaml_dumper() -> Any:
    """Return the PyYAML dumper by which OmegaConf writes YAML: it quotes text like `1e-3`."""
    return get_omega_conf_dumper()


def unresolved(parent: DictConfig | ListConfig, key: Any) -> Any:
    """Return a value as it is written, its interpolation unresolved; None if there is none."""
    node = parent._get_node(key)
    return None if node is None else node._value()  # type: ignore[union-attr]
