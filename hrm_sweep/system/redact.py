"""Keeps passwords out of everything that is shown or stored."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from hrm_sweep.errors import InputError

MASK = "***"

_SECRET_KEYS = (
    r"[a-z0-9]{0,30}password|passwd|pwd|passphrase|secret(?:[_-]?key)?"
    r"|(?:api|access|private)[_-]?key|(?:auth|access|api|refresh|session|bearer|deploy|login)[_-]?token"
    r"|(?:bot|git|github|gitlab|hf|hub|slack|tracking|wandb)[_-]token"
)
_QUOTED_OR_WORD = r"(?:(?P<quote>[\"'])(?:(?!(?P=quote))[^\n])*|[^\s\"'&;,)}\]]+)"
_IN_URI = re.compile(
    r"(?P<before>(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://[^\s/?#\"'<>:@]{0,200}:)"
    r"(?!\d{1,5}(?:[/?#]|$))"  # host:port, not user:password
    r"(?:(?!://)[^\s\"'<>]){0,500}@",  # greedy: people put @ and / into passwords
    re.IGNORECASE,
)
_TOKEN_IN_URL = re.compile(r"(?P<before>https?://)[^\s/?#\"'<>:@]+@", re.IGNORECASE)
_SIGNED_URL = re.compile(
    r"(?P<before>[?&](?:[\w-]{0,40}(?:signature|credential|token|secret)|sig|awsaccesskeyid)=)"
    r"[^\s&#\"'<>]+",
    re.IGNORECASE,
)
_NAMED = re.compile(
    rf"(?P<before>(?<![a-z0-9])[\"']?(?:{_SECRET_KEYS})[\"']?\s*[=:]\s*){_QUOTED_OR_WORD}",
    re.IGNORECASE,
)
_NAMED_TOKEN = re.compile(  # pad_token=0 is a model's, and a number or a short word is none
    r"(?P<before>(?<![A-Za-z0-9_])[\"']?(?:[A-Z0-9_]{0,60}TOKEN|[Tt]oken)[\"']?\s*[=:]\s*)"
    r"(?![\d.]+(?![^\s\"'&;,)}\]]))(?P<quote>[\"'])?[^\s\"'&;,)}\]]{6,}"
)
_OPTION = re.compile(
    r"(?P<before>(?<!\S)--[a-z-]{0,40}(?:password|passwd|passphrase|token|secret|api-?key)[ \t]+)"
    rf"(?!-){_QUOTED_OR_WORD}",
    re.IGNORECASE,
)
_USER_OPTION = re.compile(  # curl's; 0:0 is a user and a group
    r"(?P<before>(?<!\S)(?:-u|--user)[ \t=][ \t]*(?P<quote>[\"'])?(?!\d+:\d)[^\s:\"']{1,200}:)"
    r"[^\s\"']+"
)
_HEADER = re.compile(
    r"(?P<before>\bBearer[ \t]+|\bAuthorization[\"']?\s*[:=]\s*[\"']?(?:(?:Basic|Token)[ \t]+))"
    r"[^\s\"',;)}\]]{6,}",
    re.IGNORECASE,
)
_SIGN = re.compile(
    r"://|pass|pwd|secret|token|key|bearer|authorization"
    r"|[?&][\w-]*(?:sig|cred)|(?:-u|--user)[ \t=]",
    re.IGNORECASE,
)
"""What a text has at least in which another pattern finds something."""
_KEY = re.compile(rf"(?:^|[._/])(?:{_SECRET_KEYS})$", re.IGNORECASE)
_IN_ENVIRONMENT = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD")
_SECRET_VARIABLES = (
    "PASSWORD",
    "PASSWD",
    "_PASS",
    "PASSPHRASE",
    "TOKEN",
    "SECRET",
    "API_KEY",
    "ACCESS_KEY",
)
"""How the names of other variables of the environment end that hold secrets."""


def last_line(printed: bytes) -> str:
    """Return the last line with a word of what a process printed, without secrets; "": none."""
    lines = (line.strip() for line in reversed(printed.decode(errors="replace").splitlines()))
    return redacted(next(filter(None, lines), ""))


def redacted(text: str) -> str:
    """`text` with the secrets in it masked: a URI, an error message, a whole traceback.

    Masked are passwords in URIs, lone tokens before the host of a web address, parameters of signed
    addresses, values named `password=`, `api_key:`, `HF_TOKEN=` and the like or given by options
    such as `--password` and `-u user:`, `Bearer` and what follows it, and the values of the
    environment's variables that hold secrets.
    """
    return _masked(text, _secrets_of_environment())


def redacted_lines(text: str) -> str:
    """`redacted` for a long text, most of whose lines have no secrets; none spans two lines."""
    secrets = _secrets_of_environment()
    return "".join(_masked(line, secrets) for line in text.splitlines(keepends=True))


def _masked(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    if not _SIGN.search(text):
        return text
    for pattern in (_IN_URI, _TOKEN_IN_URL):
        text = pattern.sub(rf"\g<before>{MASK}@", text)
    for pattern in (_SIGNED_URL, _HEADER, _USER_OPTION):
        text = pattern.sub(rf"\g<before>{MASK}", text)
    for pattern in (_NAMED, _NAMED_TOKEN, _OPTION):
        text = pattern.sub(lambda named: f"{named['before']}{named['quote'] or ''}{MASK}", text)
    return text


def _secrets_of_environment() -> list[str]:
    """Return values of variables; shorter ones would mask ordinary words."""
    return [
        value
        for name, value in os.environ.items()
        if len(value) >= (4 if name in _IN_ENVIRONMENT else 8)
        and (name in _IN_ENVIRONMENT or name.endswith(_SECRET_VARIABLES))
    ]


def is_secret(key: str) -> bool:
    """Return whether the value under a key of this name is a secret."""
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
    if isinstance(value, str) and _NAMED_TOKEN.fullmatch(f"{key.rpartition('.')[2]}={value}"):
        return MASK
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
