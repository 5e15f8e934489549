"""The recipe: a composed config as flat keys, and the signature that names it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from hrm_sweep.formatting import format_override


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists become their JSON text, scalars stay."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return flat


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree that `flatten` made flat keys of; JSON text of a list is a list again."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, name = key.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = _list_or_same(value)
    return tree


def signature(flat: Mapping[str, Any], ignored_keys: Collection[str]) -> str:
    """Eight characters naming all that can change a result: equal signature, equal numbers.

    Args:
        ignored_keys: the app's top-level keys that cannot change one.
    """
    return digest(flat, ignored_keys)[:8]


def digest(flat: Mapping[str, Any], ignored_keys: Collection[str]) -> str:
    """Return the whole hash that `signature` shortens."""
    kept = {key: value for key, value in flat.items() if is_of_the_recipe(key, ignored_keys)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def is_of_the_recipe(override: str, ignored_keys: Collection[str]) -> bool:
    """Whether an override, or a flat key, can change a result; Hydra's own cannot."""
    first = re.split(r"[./@=]", override.lstrip("+~"), maxsplit=1)[0]
    return first != "hydra" and first not in ignored_keys


def recipe_overrides(overrides: Iterable[str], ignored_keys: Collection[str]) -> list[str]:
    """Return the overrides that can change a result, as the user would type them.

    Args:
        ignored_keys: the app's top-level keys that cannot.
    """
    return [
        format_override(override)
        for override in overrides
        if is_of_the_recipe(override, ignored_keys)
    ]


def _list_or_same(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("["):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value
