"""Keeps passwords out of everything that is shown or stored."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from hrm_sweep.errors import InputError

MASK = "***"

_SECRET_KEYS = (
    r"(?:ssl)?password|passwd|pwd|secret(?:_?key)?|(?:api|access)_?key|(?:auth|access)_?token"
)
_IN_URI = re.compile(
    r"(?P<before>(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://[^\s/?#\"'<>:@]{0,200}:)"
    r"(?!\d{1,5}(?:[/?#]|$))"  # host:port, not user:password
    r"(?:(?!://)[^\s\"'<>]){0,500}@",  # greedy: people put @ and / into passwords
    re.IGNORECASE,
)
_TOKEN_IN_URL = re.compile(r"(?P<before>https?://)[^\s/?#\"'<>:@]+@", re.IGNORECASE)
_NAMED = re.compile(
    rf"(?P<before>(?<![a-z0-9])[\"']?(?:{_SECRET_KEYS})[\"']?\s*[=:]\s*)"
    r"(?:(?P<quote>[\"'])(?:(?!(?P=quote))[^\n])*|[^\s\"'&;,)}\]]+)",
    re.IGNORECASE,
)
_KEY = re.compile(rf"(?:^|[._/])(?:{_SECRET_KEYS})$", re.IGNORECASE)
_IN_ENVIRONMENT = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD")


def redacted(text: str) -> str:
    """`text` with the secrets in it masked: a URI, an error message, a whole traceback.

    Masked are passwords in URIs, lone tokens before the host of a web address, values named
    `password=`, `api_key:` and the like, and the values of the environment variables that hold the
    tracking server's password.
    """
    for name in _IN_ENVIRONMENT:
        secret = os.environ.get(name, "")
        if len(secret) > 3:  # shorter ones would mask ordinary words
            text = text.replace(secret, MASK)
    text = _IN_URI.sub(rf"\g<before>{MASK}@", text)
    text = _TOKEN_IN_URL.sub(rf"\g<before>{MASK}@", text)
    return _NAMED.sub(lambda named: f"{named['before']}{named['quote'] or ''}{MASK}", text)


def is_secret(key: str) -> bool:
    """Whether what stands under a key of this name is not for everybody."""
    return _KEY.search(key) is not None


def redacted_tree(value: Any) -> Any:
    """Return a JSON value with each string redacted and values under secret keys masked."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {key: _under(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted_tree(inner) for inner in value]
    return value


def _under(key: str, value: Any) -> Any:
    may_be_secret = isinstance(value, (str, int, list)) and not isinstance(value, bool)
    return MASK if value and may_be_secret and is_secret(key) else redacted_tree(value)


def check_no_secrets(overrides: Iterable[str]) -> None:
    """Refuses settings with a password in them: overrides are stored with every run.

    Raises:
        InputError: one has; it is shown without.
    """
    for override in overrides:
        if redacted(override) != override:
            raise InputError(
                f"{redacted(override)}: a password that is typed here would be stored with the "
                "study; put the address into MLFLOW_TRACKING_URI or HRM_SWEEP_STORAGE"
            )
