"""What MLflow allows: which names, how long, how many at once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from hrm_sweep.system.redact import redacted

MAX_NAME, MAX_PARAM, MAX_DIGEST = 250, 6000, 36
MAX_TAG = 5000
"""8000 today; servers before 3.0 take less."""
METRICS_A_BATCH = 1000
MAX_INTEGER = 2**63 - 1
MAX_DATASET_NAME, MAX_PROFILE = 500, 60_000


def refusal(step: float) -> str:
    """Return why MLflow can never store a measurement of a step, "" if it can."""
    if step != int(step):
        return f"step {step} is no integer"
    if abs(step) > MAX_INTEGER:
        return f"step {step} has more than 64 bits"
    return ""


class Names:
    """Names as MLflow allows them; different ones stay different."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """Return the legal form of a name."""
        legal = legal_name(name)
        if self._taken.setdefault(legal, name) != name:
            legal = legal_name(f"{legal}-{name.encode('utf-8', 'replace').hex()}")
            self._taken[legal] = name
        return legal


def legal_name(name: str) -> str:
    """`name` with what MLflow forbids replaced by `_`; a longer one than MLflow's longest is cut.

    A cut name ends with a digest of the whole one: metrics of a deep model differ at their ends.
    """
    parts = [re.sub(r"[^\w.\- :]", "_", part) for part in name.split("/")]
    legal = "/".join("_" if part in ("", ".", "..") else part for part in parts)
    if legal.startswith(".."):
        legal = f"_{legal}"
    if len(legal) <= MAX_NAME:
        return legal
    end = f"...-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return legal[: MAX_NAME - len(end)] + end


def clean(text: str) -> str:
    """`text` without what some database refuses: halves of characters, and zeros."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def cut(text: str, length: int) -> str:
    """`text`, or as much of its beginning as fits, with a note that it was cut."""
    mark = f" ... (cut, {len(text)} characters)"
    return text if len(text) <= length else text[: length - len(mark)] + mark


def shown(text: str, length: int) -> str:
    """`text` as it may leave the house: without secrets, and so long at most."""
    return cut(clean(redacted(text)), length)


def legal_tags(values: Mapping[str, str]) -> dict[str, str]:
    """Return tags with legal names and texts."""
    names = Names()
    return {names(name): shown(str(value), MAX_TAG) for name, value in values.items()}


def param_text(value: Any) -> str:
    """Return a value as the user would type it in an override: true, null, 0.0001."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return shown(text, MAX_PARAM)
