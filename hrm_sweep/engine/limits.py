"""Rules that the settings of a study keep to, under whichever keys an app's config has them."""

from __future__ import annotations

from typing import Any

from hrm_sweep.errors import ConfigError
from hrm_sweep.runs.models import CHOICES
from hrm_sweep.system.durations import seconds_of

LONGEST_NAME = 200
"""Bytes of a study's name: reproductions, and locks in folders, add to it."""
WHOLE = (
    *("n_trials", "repeats", "max_attempts", "max_batch_size", "patience"),
    *("workers", "threads", "n_jobs"),
)
START_METHODS = ("auto", "spawn")
MAY_BE_NULL = ("n_trials", "max_batch_size", "patience", "workers")
SECONDS = ("timeout", "trial_timeout")


def check_limits(settings: dict[str, Any]) -> None:
    """Check the numbers among the settings; None is no limit.

    Durations become seconds, in `settings` itself: see `seconds_of`.

    Raises:
        ConfigError: one is out of its range.
    """
    for key in WHOLE:
        if (number := settings.get(key)) is not None and number < 1:
            or_null = ", or null" if key in MAY_BE_NULL else ""
            raise ConfigError(key, number, f"must be 1 or more{or_null}")
    for key in SECONDS:
        seconds = seconds_of(key, settings.get(key))
        if seconds is not None and not seconds > 0:
            raise ConfigError(key, settings[key], "must be more than 0 seconds, or null")
        if key in settings:
            settings[key] = seconds
    for key, choices in (("keep_models", CHOICES), ("start_method", START_METHODS)):
        if key in settings and settings[key] not in choices:
            raise ConfigError(key, settings[key], f"must be one of {', '.join(choices)}")
    if "" in (settings.get("model_files") or ()):
        raise ConfigError("model_files", "", "must be patterns of file names", "such as ['*.npz']")
    rate = settings.get("max_failure_rate")
    if rate is not None and not 0 <= rate <= 1:
        raise ConfigError("max_failure_rate", rate, "must be from 0 to 1", "such as 0.5")


def check_name(name: str, *, key: str) -> None:
    """Check that a study's name can be a folder and a word on the command line.

    Raises:
        ConfigError: it cannot.
    """
    if not name or "/" in name or name[0] in ".-" or len(name.encode()) > LONGEST_NAME:
        rule = f"must be one folder's name, without . or - in front, of up to {LONGEST_NAME} bytes"
        raise ConfigError(key, name, rule, "try my-study")
    if not name.isprintable() or name != name.strip():
        raise ConfigError(key, name, "must be one line without a margin", "try my-study")
