"""The recipe: a composed config as flat keys, and the signature that names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

NO_RESULT = ("study", "tracking", "hydra")
"""Top-level keys that cannot change a result and so stay out of the signature."""


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists become their JSON text, scalars stay."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return flat


def signature(flat: Mapping[str, Any]) -> str:
    """Eight characters naming all that can change a result: equal signature, equal numbers."""
    return digest(flat)[:8]


def digest(flat: Mapping[str, Any]) -> str:
    """The whole of the name that `signature` shortens, for who compares many."""
    kept = {key: value for key, value in flat.items() if key.partition(".")[0] not in NO_RESULT}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def is_of_the_recipe(override: str) -> bool:
    """Whether an override can change a result; a study's and a tracker's keys cannot."""
    return not override.lstrip("+~").startswith(("study.", "study/", "tracking", "hydra"))
