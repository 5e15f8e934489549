"""Errors of Hydra and OmegaConf as one line: the input, the rule, a way out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from hrm_sweep import formatting

_SWEPT = (
    r"Ambiguous value for argument '(.*?)' 1\."
    r"|Sweep parameters '(.*?)' requires --multirun"
)

_ODD = re.compile(r"null|true|false|[-+.]?\d[-+.\deE_]*", re.IGNORECASE)


def explain(
    error: Exception,
    *,
    command: Sequence[str],
    overrides: Sequence[str],
    keys: Iterable[str],
    commands: Iterable[str],
) -> str:
    """Return an error of Hydra or OmegaConf as one line for the user.

    Args:
        error: what was raised.
        command: what starts the program, without arguments.
        overrides: those that the user typed.
        keys: config keys, for suggestions.
        commands: names of commands, for suggestions.
    """
    text = _one_line(error)
    if match := re.match(_SWEPT, text):
        again = shlex.join([*command, "-m", *overrides])
        return f"{match[1] or match[2]}: several values need -m (a study): {again}"
    if match := re.match(r"Could not override '(.*?)'", text):
        return _unknown_key(match[1], overrides, keys)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        options = sorted(error.options)
        hint = formatting.did_you_mean(option, options) or f"choose from {', '.join(options)}"
        return f"{group}={option}: no such option; {hint}"
    if is_hydra_value_error(error):
        typed = [override for override in overrides if _has_odd_option(override)] or overrides
        return f"{shlex.join(typed)}: {text}; --help lists the groups and their options"
    if isinstance(error, OverrideParseException):
        return _parse_error(error.override, commands, text)
    if match := re.match(r"Error merging override (\S+)", text):
        return f"{match[1]}: {_one_line(error.__cause__ or error)}"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{_typed(error.full_key, overrides)}: {_unresolved(text, keys)}"
    return text


def is_hydra_value_error(error: Exception) -> bool:
    """Return whether Hydra reports bad input by a plain ValueError, as for `model=3`."""
    return str(error).startswith("Config group override must be a string")


def _unknown_key(key: str, overrides: Sequence[str], keys: Iterable[str]) -> str:
    near = formatting.did_you_mean(key, keys)
    return f"{_typed(key, overrides)}: no key of that name; {near or 'see --help for all keys'}"


def _one_line(error: BaseException) -> str:
    return re.sub(r" full_key: .*", "", " ".join(str(error).split()))


def _has_odd_option(override: str) -> bool:
    """Return whether an override may choose an option of a group by what is not a name."""
    key, _, value = override.partition("=")
    return not key.startswith("hydra") and any(map(_ODD.fullmatch, value.split(",")))


def _typed(key: str, overrides: Sequence[str]) -> str:
    """Return the override of a key as it was typed; the key if there is none."""
    return next((text for text in overrides if text.lstrip("+~").startswith(f"{key}=")), key)


def _unresolved(text: str, keys: Iterable[str]) -> str:
    """Return why an interpolation cannot be resolved."""
    if not (match := re.match(r"Interpolation key '(.*?)' not found", text)):
        return text
    near = formatting.did_you_mean(match[1], keys)
    return f"{text}; {near or '--cfg all shows all keys'}"


def _parse_error(override: str, commands: Iterable[str], text: str) -> str:
    if match := re.search(r" while evaluating '.*?': (.*?)( See https:|$)", text):
        return f"{override}: {match[1]}"
    if near := formatting.did_you_mean(override, commands):
        return f"{override}: no command of that name; {near}"
    if "=" not in override:
        return f"{override}: not an override; write key=value (lr=1e-3), see --help for the keys"
    key, _, value = override.partition("=")
    if not value.isascii() and '"' not in value:
        quoted = shlex.quote(f'{key}="{value}"')
        return f"{override}: letters beyond ASCII need quotes of Hydra's own: {quoted}"
    return (
        f"{override}: cannot be parsed; close every bracket and quote, and quote the whole "
        "override if it contains characters that your shell interprets"
    )
