"""`hydra.sweeper.params`, as YAML has it, as overrides in Hydra's grammar."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hrm_sweep.errors import SpaceError


def param_overrides(params: Mapping[str, Any] | None) -> list[str]:
    """Return the overrides that `params` stands for.

    Text is a sweep or a value, as on the command line. Numbers, true, false and null are values. A
    mapping has the keys below its own: `optimizer: {lr: "1e-3,1e-4"}` is `optimizer.lr=1e-3,1e-4`.

    Raises:
        SpaceError: a list or an empty mapping, which could mean a value as well as a search.
    """
    plain: Any = params
    if isinstance(params, DictConfig):
        plain = OmegaConf.to_container(params, resolve=True)
    return list(_overrides("", plain or {}))


def _overrides(above: str, params: Mapping[str, Any]) -> Iterator[str]:
    for name, value in params.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping) and value:
            yield from _overrides(f"{key}.", value)
        elif isinstance(value, (Mapping, list)):
            text = json.dumps(value)
            either = f"choice({text[1:-1]}) searches its elements, and " if value else ""
            raise SpaceError(
                f"hydra.sweeper.params.{key}={text}: may mean a search or a value; as text, "
                f"{either}'{text}' in quotes is one value"
            )
        else:
            yield f"{key}={value if isinstance(value, str) else json.dumps(value)}"
