"""Two words of ours in Hydra's sweep grammar: `logrange` and `zip`.

    lr=logrange(1e-5, 1e-2, 4)                       1e-5, 1e-4, 1e-3, 1e-2
    hidden_dim=zip(64, 128) lr=zip(1e-3, 5e-4)       64 with 1e-3, then 128 with 5e-4

Zips walk together; those with a tag of their own, `tag(a, zip(...))`, walk apart from the others.

Hydra compares arguments with the annotations, which cannot be strings for that: no `from __future__
import annotations` here.
"""

import math
from dataclasses import dataclass
from typing import Any

from hydra._internal.grammar.functions import Functions
from hydra.core.override_parser import overrides_parser
from hydra.core.override_parser.types import ChoiceSweep

DIGITS = 12
"""A power of ten comes out of the logarithms as it is written."""


@dataclass
class Zip(ChoiceSweep):
    """A list that is walked together with others."""


def logrange(start: int | float, stop: int | float, num: int) -> ChoiceSweep:
    """`num` numbers from `start` to `stop`, both among them, each the same multiple of the last.

    Raises:
        ValueError: a bound is not above 0, or there are fewer than two numbers.
    """
    if not (start > 0 and stop > 0 and start != stop):
        raise ValueError(f"logrange needs two different bounds above 0, got {start} and {stop}")
    if num < 2:
        raise ValueError(f"logrange needs 2 numbers or more, got {num}")
    low, high = math.log(start), math.log(stop)
    inner = [math.exp(low + (high - low) * step / (num - 1)) for step in range(1, num - 1)]
    rounded = [float(f"{value:.{DIGITS}g}") for value in inner]
    return ChoiceSweep(list=[float(start), *rounded, float(stop)])


def walk_together(*args: Any) -> Zip:
    """A list of its own walk: the values of one key."""
    return Zip(list=list(args))


def extend() -> None:
    """Teaches Hydra both words. It has no door for that: each of its parsers asks one function for
    the words there are, and that function is wrapped here, once."""
    known = overrides_parser.create_functions
    if getattr(known, "has_ours", False):
        return

    def create_functions() -> Functions:
        functions = known()
        functions.register("logrange", logrange)
        functions.register("zip", walk_together)
        return functions

    create_functions.has_ours = True  # type: ignore[attr-defined]
    overrides_parser.create_functions = create_functions
