"""Private names of OmegaConf, read in 2.3.1 and 2.4.1rc1, and those that it has renamed.

tests/unit/compat/test_omegaconf_canary.py holds each function to what is read here.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper
from omegaconf.base import Node

_Node = TypeVar("_Node", bound=Node)


def yaml_dumper() -> Any:
    """Return the PyYAML dumper by which OmegaConf writes YAML: it quotes text like `1e-3`."""
    return get_omega_conf_dumper()


def unresolved(parent: DictConfig | ListConfig, key: Any) -> Any:
    """Return a value as it is written, its interpolation unresolved; None if there is none."""
    node = parent._get_node(key)
    return None if node is None else node._value()  # type: ignore[union-attr]


def copied(node: _Node, parent: Any = None) -> _Node:
    """Return what `copy.deepcopy` returns of a config, in a tenth of the time, with another parent.

    Values of leaves are shared, as there.
    """
    new = object.__new__(type(node))
    new.__dict__.update(node.__dict__, _parent=parent, _metadata=_copied_metadata(node._metadata))
    content = node.__dict__.get("_content")
    if isinstance(content, dict):
        new.__dict__["_content"] = {key: copied(inner, new) for key, inner in content.items()}
    elif isinstance(content, list):
        new.__dict__["_content"] = [copied(inner, new) for inner in content]
    elif isinstance(content, Node):  # of a union
        new.__dict__["_content"] = copied(content, new)
    return new


def _copied_metadata(metadata: Any) -> Any:
    new = object.__new__(type(metadata))
    flags = None if metadata.flags is None else dict(metadata.flags)
    cache = copy.deepcopy(metadata.resolver_cache)
    new.__dict__.update(metadata.__dict__, flags=flags, resolver_cache=cache)
    return new


def register_resolver(name: str, function: Callable[..., Any], *, use_cache: bool = False) -> None:
    """Register a resolver in place of any other of its name.

    2.4 calls `register_new_resolver` deprecated, and gives its old name `register_resolver` to it.
    """
    is_new = "replace" in inspect.signature(OmegaConf.register_resolver).parameters
    register: Any = OmegaConf.register_resolver if is_new else OmegaConf.register_new_resolver
    register(name, function, replace=True, use_cache=use_cache)
