"""Durations as people type them: `90`, `10min`, `1h30min`."""

from __future__ import annotations

import re
from typing import Any

from hrm_sweep.errors import ConfigError

UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400),
}
"""Seconds by unit."""
_PART = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(sorted(UNITS, key=len, reverse=True))})\s*")


def seconds_of(key: str, value: Any) -> float | None:
    """Return a duration in seconds; None stays what it is.

    Args:
        key: of the config, for the error.
        value: a number of seconds, or text with units.

    Raises:
        ConfigError: it is neither.
    """
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip()
    try:
        return float(text)
    except ValueError:
        parts = _PART.findall(text)
    if not parts or _PART.sub("", text):
        raise ConfigError(key, value, "must be seconds, or a time with units", "such as 10min")
    return sum(float(number) * UNITS[unit] for number, unit in parts)
