"""The keys of a composed config, each with its value and what it means."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrm_sweep.keys import comments
from hrm_sweep.keys.schema import FieldSchema, schema_of
from hrm_sweep.keys.sources import Sources
from hrm_sweep.runs.own_keys import own_keys

Schemas = Mapping[str, type]
"""Dotted prefix -> the class that checks the keys below it; empty: the root."""

TARGET = "Class that is made with the keys beside it"
"""What Hydra's `_target_` means, wherever it stands."""


@dataclass(frozen=True)
class Key:
    """A key of a config."""

    name: str
    """As it is typed: `model.num_heads`."""
    written: Any
    """Its value as it is written, interpolations unresolved."""
    value: Any
    """The same resolved; what is written, if it cannot be resolved."""
    meaning: str
    """What its class says of it, or, else, the YAML file that sets it first; empty: nothing."""
    comment: str
    """What the YAML file says."""
    kinds: tuple[type, ...]
    """Types of its values; empty: any."""
    choices: tuple[str, ...]
    """All values that it may have, if they are few."""
    place: str
    """File and line that set it last, or "the command line"; empty: neither."""
    read_by: tuple[str, ...] = ()
    """Keys that are written as an interpolation of this one alone."""

    @property
    def words(self) -> str:
        """What it means, in a few words: `width of a token's state`."""
        first = re.split(r"\.\s", self.meaning)[0].rstrip(".").replace("`", "")
        return first[:1].lower() + first[1:] if first[1:2].islower() else first


def keys_of(config: DictConfig, schemas: Schemas | None = None) -> dict[str, Key]:
    """Return the keys of a composed config by name, in its order.

    Args:
        config: with Hydra's own keys, composed by the Hydra that is initialized now.
        schemas: classes that say more of some keys, beside those that the config is made of.
    """
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    leaves = dict(_leaves(plain, ""))
    said = dict(_said(config, plain, schemas or {}))
    said_of_readers = {own: said[key] for key, own in own_keys(config).items() if key in said}
    words, places = _read(config)
    readers = defaultdict(list)
    for name, written in leaves.items():
        readers[written if isinstance(written, str) else ""].append(name)

    def key(name: str, written: Any) -> Key:
        schema, readers_schema = said.get(name, NOTHING), said_of_readers.get(name, NOTHING)
        about = TARGET if name.rpartition(".")[2] == "_target_" else readers_schema.words
        return Key(
            name=name,
            written=written,
            value=_resolved(config, name, written),
            meaning=schema.words or words.get(name) or about,
            comment=words.get(name, ""),
            kinds=schema.kinds or readers_schema.kinds,
            choices=schema.choices or readers_schema.choices or _choices(written),
            place=places.get(name, ""),
            read_by=tuple(readers[f"${{{name}}}"]),
        )

    return {name: key(name, written) for name, written in leaves.items()}


NOTHING = FieldSchema()


def _leaves(tree: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _said(
    config: DictConfig, plain: Mapping[Any, Any], schemas: Schemas
) -> Iterator[tuple[str, FieldSchema]]:
    """Yield what classes say of keys."""
    for prefix, kind in {**dict(_kinds(config, plain, "")), **schemas}.items():
        for name, said in schema_of(kind).items():
            yield (f"{prefix}.{name}" if prefix else name), said


def _kinds(node: DictConfig, plain: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, type]]:
    """Yield the classes that a config was made of, by the prefix of their keys."""
    kind = OmegaConf.get_type(node)
    is_hydras = (getattr(kind, "__module__", None) or "").startswith("hydra.")  # no docstrings
    if kind is not None and dataclasses.is_dataclass(kind) and not is_hydras:
        yield prefix, kind
    for name, below in plain.items():
        if isinstance(below, dict) and below:
            yield from _kinds(node[name], below, f"{prefix}.{name}" if prefix else str(name))


def _read(config: DictConfig) -> tuple[dict[str, str], dict[str, str]]:
    """Return the comment of each key, from where it is first set, and where it is last set."""
    words: dict[str, str] = {}
    places: dict[str, str] = {}
    for source in Sources(config).chosen():
        for name, line in comments.read(source.path).lines.items():
            full = f"{source.package}.{name}" if source.package else name
            words.setdefault(full, line.comment)
            places[full] = f"{source.shown}, line {line.number}"
    for typed in config.hydra.overrides.task:
        places[typed.lstrip("+").partition("=")[0]] = "the command line"
    return words, places


def _resolved(config: DictConfig, name: str, written: Any) -> Any:
    try:
        return OmegaConf.select(config, name, default=written)
    except OmegaConfBaseException:
        return written


def _choices(value: Any) -> tuple[str, ...]:
    """Return the choices that a value alone tells of."""
    if isinstance(value, Enum):
        return tuple(type(value).__members__)
    return ("true", "false") if isinstance(value, bool) else ()
