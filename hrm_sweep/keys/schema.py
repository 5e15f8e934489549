"""What a config class says of its keys: docstrings of fields, types and choices."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import sys
import textwrap
from collections.abc import Iterator
from functools import lru_cache
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

MISSING = "???"
"""OmegaConf's mark for a value that the user, or a YAML file, has to give."""


def choice(*options: str, default: str = MISSING) -> Any:
    """Declare a field of a config class whose value is one of the options."""
    return dataclasses.field(default=default, metadata={"choices": options})


KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
}
"""Type -> what a user calls its values."""


class FieldSchema(NamedTuple):
    """What a class says of one of its fields."""

    words: str = ""
    choices: tuple[str, ...] = ()
    kinds: tuple[type, ...] = ()
    """Types of its values; NoneType where it may be null. Empty: any."""


def schema_of(config: type) -> dict[str, FieldSchema]:
    """Return what a dataclass, and those it contains, say of each field, by dotted name."""
    return dict(_fields(config, ""))


def docstrings(config: type) -> dict[str, str]:
    """Return the docstring of each field, in one line, own ones and inherited ones."""
    found: dict[str, str] = {}
    for each in reversed(config.__mro__):
        if dataclasses.is_dataclass(each):
            found |= _own_docstrings(each)
    return found


def summary(config: type) -> str:
    """Return the first paragraph of a class's docstring in one line; empty: it has none."""
    text = config.__doc__ or ""
    is_made = text.startswith(f"{config.__name__}(")  # dataclasses write the signature there
    return "" if is_made else " ".join(inspect.cleandoc(text).split("\n\n")[0].split())


def _fields(config: type, prefix: str) -> Iterator[tuple[str, FieldSchema]]:
    words, types = docstrings(config), _types(config)
    for each in dataclasses.fields(config):
        hint = types.get(each.name)
        kinds = tuple(get_origin(kind) or kind for kind in _parts(hint))
        options = tuple(each.metadata.get("choices", ())) or _options(kinds)
        yield prefix + each.name, FieldSchema(words.get(each.name, ""), options, kinds)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _fields(hint, f"{prefix}{each.name}.")


def _types(config: type) -> dict[str, Any]:
    try:
        return get_type_hints(config)
    except NameError:  # a type that is imported for type checkers alone
        return {}


def _parts(hint: Any) -> tuple[type, ...]:
    """Return the types that a type hint is a union of; nothing for what may be any."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return () if Any in parts or None in parts else parts


def _options(kinds: tuple[type, ...]) -> tuple[str, ...]:
    """Return the values of types that have few."""
    for kind in kinds:
        if kind is bool:
            return ("true", "false")
        if issubclass(kind, enum.Enum):
            return tuple(kind.__members__)
    return ()


@lru_cache
def _own_docstrings(config: type) -> dict[str, str]:
    for node in _module(config.__module__).body:
        if isinstance(node, ast.ClassDef) and node.name == config.__name__:
            return dict(_documented(node))
    return {}


def _documented(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match text:
                case ast.Expr(value=ast.Constant(value=str(words))):
                    yield field.target.id, " ".join(textwrap.dedent(words).split())


@lru_cache
def _module(name: str) -> ast.Module:
    """Return the source of a module as a tree; an empty one where there is no source."""
    try:
        return ast.parse(inspect.getsource(sys.modules[name]))
    except (OSError, TypeError, KeyError, SyntaxError):  # typed at a prompt, or compiled
        return ast.Module([], [])
