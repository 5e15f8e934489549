"""Errors of Hydra, OmegaConf and YAML as one line: the input, the rule, a way out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError  # type: ignore[import-untyped]  # OmegaConf brings it

from hrm_sweep import formatting
from hrm_sweep.system import shell

LIBRARY_ERRORS = (HydraException, OmegaConfBaseException, YAMLError)
"""What is raised for a config, or for overrides, that cannot be composed."""

_SWEPT = (
    r"Ambiguous value for argument '(.*?)' 1\."
    r"|Sweep parameters '(.*?)' requires --multirun"
)

_TYPOGRAPHIC = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
"""Signs that a text processor writes for a minus."""
_WORD = re.compile(r"[^\s,=:()\[\]{}]*[^\x00-\x7f][^,=:()\[\]{}]*")
"""Text with letters beyond ASCII, between the signs of Hydra's grammar."""
_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"))
_GRAMMAR = re.compile(r"[\[{]|\w+\(")
"""Beginning of a list, a mapping or a call, which quotes would make a text of."""
_ODD = re.compile(r"null|true|false|[-+.]?\d[-+.\deE_]*", re.IGNORECASE)


def explain(
    error: Exception,
    *,
    command: Sequence[str],
    overrides: Sequence[str],
    keys: Iterable[str],
    commands: Iterable[str],
) -> str:
    """Return an error of Hydra, OmegaConf or YAML as one line for the user.

    Args:
        error: what was raised.
        command: what starts the program, without arguments.
        overrides: those that the user typed.
        keys: config keys, for suggestions.
        commands: names of commands, for suggestions.
    """
    text = _one_line(error)
    if isinstance(error, MarkedYAMLError) and (mark := error.problem_mark):
        return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    if match := re.match(_SWEPT, text):
        again = shell.join([*command, "-m", *overrides])
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
        return f"{shell.join(typed)}: {text}; --help lists the groups and their options"
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
    if match := re.search(r" while evaluating '(\w+).*?': (.*?)( See https:|$)", text):
        if match[1] == "choice" and "NoneType" in match[2]:
            return f"{override}: choice takes no null; separate the values by commas alone: a,null"
        return f"{override}: {match[2]}"
    if near := formatting.did_you_mean(override, commands):
        return f"{override}: no command of that name; {near}"
    if "=" not in override:
        return f"{override}: not an override; write key=value (lr=1e-3), see --help for the keys"
    key, _, value = override.partition("=")
    if not key.isascii():
        return (
            f"{override}: a key has letters of ASCII, digits and _ alone; see --help for the keys"
        )
    plain = value.translate(_TYPOGRAPHIC)
    if plain != value and _ODD.fullmatch(plain):
        return f"{override}: has a sign that is no minus; write {key}={plain}"
    if quoted := _quoted(key, value):
        what = "this text needs" if value.isascii() else "letters beyond ASCII need"
        return f"{override}: {what} quotes of Hydra's own: {shell.quote(quoted)}"
    return (
        f"{override}: cannot be parsed; close every bracket and quote, and quote the whole "
        "override if it contains characters that your shell interprets"
    )


def _quoted(key: str, value: str) -> str:
    """Return an override that can be parsed, with quotes around what Hydra cannot read; or "".

    Quoted are words in a list or a call, as in `choice("ä",b)`, or else the whole value.
    """
    if '"' in value or any(value.count(each) != value.count(other) for each, other in _PAIRS):
        return ""
    if value.isascii() and _GRAMMAR.match(value):
        return ""
    for quoted in (_WORD.sub(lambda word: f'"{word[0].rstrip()}"', value), f'"{value}"'):
        with suppress(HydraException):
            OverridesParser.create().parse_override(f"{key}={quoted}")
            return f"{key}={quoted}"
    return ""
