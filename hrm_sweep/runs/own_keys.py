"""Keys of the sweeper and the launcher, under the names that the user of an app sets them by."""

from __future__ import annotations

import re
from collections.abc import Mapping

from omegaconf import DictConfig, OmegaConf

PARTS = ("sweeper", "launcher")


def own_keys(config: DictConfig) -> dict[str, str]:
    """Return the key that a config reads for each key of its `hydra.sweeper` and `hydra.launcher`.

    With `hydra.sweeper.direction: ${study.direction}` the user sets `study.direction`. A key that
    reads no other one is not among them.
    """
    read: dict[str, str] = {}
    for part in PARTS:
        raw = OmegaConf.to_container(config.hydra.get(part) or OmegaConf.create(), resolve=False)
        for key, value in raw.items() if isinstance(raw, dict) else ():
            if match := re.fullmatch(r"\$\{([\w.]+)\}", str(value)):
                read[f"hydra.{part}.{key!s}"] = match[1]
    return read


def in_own_keys(text: str, keys: Mapping[str, str]) -> str:
    """Return a message with an app's own keys in the place of Hydra's.

    `hydra.sweeper.direction` becomes `study.direction`, and `hydra/sweeper/sampler=tpe` becomes
    `study/sampler=tpe`.

    Args:
        keys: what `own_keys` returned.
    """

    def own(match: re.Match[str]) -> str:
        separator, part, name = match.groups()
        key = keys.get(f"hydra.{part}.{name}")
        return key.replace(".", separator) if key else match[0]

    return re.sub(r"\bhydra([./])(sweeper|launcher)\1(\w+)", own, text)
