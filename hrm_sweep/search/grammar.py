"""Two functions added to Hydra's override grammar: `logrange` and `zip`.

    lr=logrange(1e-5, 1e-2, 4)                       1e-5, 1e-4, 1e-3, 1e-2
    hidden_dim=zip(64, 128) lr=zip(1e-3, 5e-4)       64 with 1e-3, then 128 with 5e-4

Zips advance together; those with a tag, `tag(a, zip(...))`, advance apart from the others.

The functions exist only in processes of our command line and of apps that use our sweeper: in every
other Hydra app the grammar stays Hydra's own.

Hydra compares arguments with the annotations, so these must not be strings: no `from __future__
import annotations` here.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrm_sweep.compat import hydra as compat

DIGITS = 12
"""Significant digits of a value: few enough that a power of ten is written as one."""
CALL = re.compile(r"\b(logrange|zip)\(")


@dataclass
class Zip(ChoiceSweep):
    """List whose values are combined with those of other lists at the same position."""


def logrange(start: int | float, stop: int | float, num: int) -> ChoiceSweep:
    """Return `num` numbers from `start` to `stop`, both included, with equal ratios between them.

    Raises:
        ValueError: A bound is not above 0, the bounds are equal, or `num` is below 2.
    """
    if not (start > 0 and stop > 0 and start != stop):
        raise ValueError(f"logrange needs two different bounds above 0, got {start} and {stop}")
    if num < 2:
        raise ValueError(f"logrange needs 2 numbers or more, got {num}")
    low, high = math.log(start), math.log(stop)
    inner = [math.exp(low + (high - low) * step / (num - 1)) for step in range(1, num - 1)]
    rounded = [float(f"{value:.{DIGITS}g}") for value in inner]
    return ChoiceSweep(list=[float(start), *rounded, float(stop)])


def zip_values(*args: Any) -> Zip:
    """Return the values of one key as a list to be zipped."""
    return Zip(list=list(args))


def extend() -> None:
    """Add `logrange` and `zip` to the grammar of this process; do nothing when called again."""
    compat.register_functions({"logrange": logrange, "zip": zip_values})


def extend_for(sweeper: str) -> None:
    """Extend the grammar as soon as an app whose `hydra.sweeper._target_` is `sweeper` needs it.

    Hydra parses the overrides before it composes the config that may name the sweeper. So when it
    cannot parse one that calls our functions, the config is composed without this override.
    """

    def is_repaired(override: str, compose: Callable[[], DictConfig]) -> bool:
        if not CALL.search(override) or compat.has_function("zip"):
            return False
        try:
            is_ours = bool(OmegaConf.select(compose(), "hydra.sweeper._target_") == sweeper)
        except (HydraException, OmegaConfBaseException):
            return False
        if is_ours:
            extend()
        return is_ours

    compat.retry_unparsable(is_repaired)
