"""Values of parameters as text in the override grammar, and back."""

from __future__ import annotations

import contextlib
import math
import re

from hydra.core.override_parser.types import Quote, QuotedString

Value = bool | int | float | str | None
"""What Optuna can store as a parameter."""
ZEROS = re.compile(r"[+-]?0[0-9_]")
BARE = re.compile(r"[\w./+%@:-]+", re.ASCII)


def plain(text: str) -> Value:
    """Return an override's value as a number, true, false, null, or its text."""
    words: dict[str, Value] = {"true": True, "false": False, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    if text[:1] in ("'", '"'):
        return text[1:-1].replace(f"\\{text[0]}", text[0])
    if ZEROS.match(text):  # Hydra reads 007 as text
        return text
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            number = kind(text)
            return number if math.isfinite(number) else text  # as the search space has it
    return text


def text_of(value: Value) -> str:
    """Return a value as text that Hydra reads as this value; `plain` does too."""
    if isinstance(value, str):
        is_bare = BARE.fullmatch(value) and plain(value) == value
        return value if is_bare else str(QuotedString(value, Quote.single).with_quotes())
    return "null" if value is None else repr(value).lower()
