"""Points that the user has run first: a list in the config, or a file."""

from __future__ import annotations

import csv
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # OmegaConf brings it
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrm_sweep.compat.hydra import element_text
from hrm_sweep.errors import SpaceError
from hrm_sweep.search.space import Dimension, Space
from hrm_sweep.search.values import Value

KEY = "hydra.sweeper.enqueue"
FORM = f"such as '{KEY}=[{{lr:1e-3}}]', or a file of them in YAML, JSON or CSV"
Point = Mapping[str, Value]
"""Values of some parameters, by name; a sampler proposes the others."""


def parse_enqueued(asked: Any, space: Space) -> tuple[Point, ...]:
    """Return the points that a config names.

    Args:
        asked: a list of mappings from keys to values, the path of a file with one, or None.

    Raises:
        SpaceError: one is not in the space, stands there twice, or the file cannot be read.
    """
    if asked is None:
        return ()
    if OmegaConf.is_config(asked):
        asked = OmegaConf.to_container(asked)
    where, listed = (f"{KEY}={asked}", _read(asked)) if isinstance(asked, str) else (KEY, asked)
    is_list = isinstance(listed, Sequence) and not isinstance(listed, str)
    if not is_list or not all(isinstance(each, Mapping) for each in listed):
        raise SpaceError(f"{where}: must be a list of points; {FORM}")
    points: list[Point] = []
    for number, each in enumerate(listed, start=1):
        point = _point(f"{where}: point {number}", each, space)
        if point in points:
            raise SpaceError(f"{where}: point {number} is point {points.index(point) + 1} again")
        points.append(point)
    return tuple(points)


def _read(name: str) -> Any:
    path = Path(name).expanduser()
    try:
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                return [_row(row) for row in csv.DictReader(file, strict=True)]
        if path.suffix in (".yaml", ".yml", ".json"):
            return OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OSError, ValueError, csv.Error, yaml.YAMLError, OmegaConfBaseException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise SpaceError(f"{KEY}={name}: cannot be read ({reason})") from None
    raise SpaceError(f"{KEY}={name}: must be a list of points; {FORM}")


def _row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row of a table as a point: an empty cell leaves its key to the sampler."""
    if None in row or None in row.values():
        raise ValueError("a row is longer or shorter than the first one, which has the keys")
    return {key.strip(): _cell(text.strip()) for key, text in row.items() if text.strip()}


def _cell(text: str) -> Any:
    """Return a cell as the command line would read it; what it cannot read is a text."""
    try:
        return OverridesParser.create().parse_override(f"key={text}").value()
    except HydraException:
        return text


def _point(where: str, asked: Mapping[Any, Any], space: Space) -> Point:
    known = {each.name: each for each in space.dimensions}
    point: dict[str, Value] = {}
    for name, value in _flat(asked, known):
        if name not in known:
            searched = ", ".join(known) or "nothing"
            raise SpaceError(f"{where} has {name}, which is not searched; searched is {searched}")
        point[name] = _stored(where, known[name], value)
    if not point:
        raise SpaceError(f"{where} is empty; give it values, or leave it out")
    if space.is_finite:
        _check_steps(where, point, space)
    return point


def _flat(tree: Mapping[Any, Any], known: Mapping[str, Dimension]) -> Iterator[tuple[str, Any]]:
    """Yield names and values; a mapping that is no value has the later parts of names."""
    for key, value in tree.items():
        name = str(key).lstrip("+")
        if isinstance(value, Mapping) and name not in known:
            yield from _flat({f"{name}.{inner}": each for inner, each in value.items()}, known)
        else:
            yield name, value


def _stored(where: str, dimension: Dimension, asked: Any) -> Value:
    """Return the value of a dimension that is asked for."""
    distribution: Any = dimension.distribution
    if dimension.choices is None:
        low, high = distribution.low, distribution.high
        is_inside = _is_number(asked) and low <= asked <= high
        if is_inside and (isinstance(low, float) or asked == int(asked)):
            stored: Value = type(low)(asked)
            return stored
        searched = f"{low} to {high}{', whole numbers' if isinstance(low, int) else ''}"
    else:
        for value, text in dimension.choices.items():
            if _are_equal(value, asked) or text == element_text(asked):
                return value
        searched = textwrap.shorten(", ".join(dimension.choices.values()), 200)
    raise SpaceError(f"{where}: {dimension.name}={asked}: is not in the search space ({searched})")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_equal(one: Any, other: Any) -> bool:
    """Return whether two values are one: 1 and 1.0 are, 1 and true are not."""
    if _is_number(one) and _is_number(other):
        return math.isclose(one, other, rel_tol=1e-12)
    return type(one) is type(other) and bool(one == other)


def _check_steps(where: str, point: Point, space: Space) -> None:
    """Check that lists which are walked together have the point's values beside each other."""
    for axis in space.axes():
        names = [dimension.name for dimension in axis]
        asked = {name: point[name] for name in names if name in point}
        steps = zip(*(dimension.walk for dimension in axis), strict=True)
        if not any(asked.items() <= dict(zip(names, step, strict=True)).items() for step in steps):
            raise SpaceError(
                f"{where}: {' and '.join(names)} are walked together, and not with these values"
            )
