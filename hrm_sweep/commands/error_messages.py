"""Errors of Hydra and OmegaConf as one line: the input, the rule, a way out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from hydra.errors import MissingConfigException, OverrideParseException

from hrm_sweep import formatting

_SWEPT = (
    r"Ambiguous value for argument '(.*?)' 1\."
    r"|Sweep parameters '(.*?)' requires --multirun"
)


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
    text = re.sub(r" full_key: .*", "", " ".join(str(error).split()))
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
        return f"{shlex.join(overrides)}: {text}; --help lists the groups and their options"
    if isinstance(error, OverrideParseException):
        return _parse_error(error.override, commands, text)
    return text


def is_hydra_value_error(error: Exception) -> bool:
    """Return whether Hydra reports bad input by a plain ValueError, as for `model=3`."""
    return str(error).startswith("Config group override must be a string")


def _unknown_key(key: str, overrides: Sequence[str], keys: Iterable[str]) -> str:
    typed = next((text for text in overrides if text.lstrip("+~").startswith(f"{key}=")), key)
    near = formatting.did_you_mean(key, keys)
    return f"{typed}: no key of that name; {near or 'see --help for all keys'}"


def _parse_error(override: str, commands: Iterable[str], text: str) -> str:
    if match := re.search(r" while evaluating '.*?': (.*?)( See https:|$)", text):
        return f"{override}: {match[1]}"
    if near := formatting.did_you_mean(override, commands):
        return f"{override}: no command of that name; {near}"
    if "=" not in override:
        return f"{override}: not an override; write key=value (lr=1e-3), see --help for the keys"
    return (
        f"{override}: cannot be parsed; close every bracket and quote, and quote the whole "
        "override if it contains characters that your shell interprets"
    )
