"""Numbers, names and times as a person reads them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from typing import Any

_SHARES = re.compile(
    r"(?:best/)?(?:train|eval|reported)/"
    r"(?:token_accuracy|exact_match|mode_share|padding_share_of_loss)(?:/.*)?"
)


def metric_label(metric: str) -> str:
    """`eval/exact_match` is "exact match" in a table, `eval/exact_match/copy` is "copy", and
    `train/loss` is "train loss"."""
    of_training = "train " if metric.startswith("train/") else ""
    return of_training + metric.rpartition("/")[2].replace("_", " ")


def format_value(metric: str, value: float | None, deviation: float | None = None) -> str:
    """A share as per cent, anything else with four digits; a dash for what is not there yet.

    A standard deviation is put behind: 98.4 ± 0.6 %.
    """
    if value is None:
        return "-"
    share = is_share(metric)
    unit = " %" if share else ""
    numbers = [number for number in (value, deviation) if number is not None]
    texts = [f"{100 * number:.1f}" if share else f"{number:.4g}" for number in numbers]
    return " ± ".join(texts) + unit


def is_share(metric: str) -> bool:
    """Whether it is a metric of our own that goes from 0 to 1; what another app calls accuracy may
    be in per cent already, and is shown as it is."""
    return _SHARES.fullmatch(metric) is not None


def matching_metrics(values: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The names that fit a pattern (`*` stands for any rest), in the order of the patterns."""
    names = list(values)
    fitting = [name for pattern in patterns for name in names if fnmatch(name, pattern)]
    return [name for name in fitting if not name.endswith("/std")]


def format_metrics(values: Mapping[str, float], names: Iterable[str]) -> str:
    """`loss 0.0122  exact match 98.4 %`."""
    return "  ".join(f"{metric_label(name)} {format_metric(values, name)}" for name in names)


def format_metric(values: Mapping[str, float], name: str) -> str:
    """One of the values, with its standard deviation if that is among them."""
    return format_value(name, values.get(name), values.get(f"{name}/std"))


def format_param(value: Any) -> str:
    """A parameter as a table shows it: 0.0001 is 1e-4, long fractions have four digits."""
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    digits = value if len(repr(value)) <= 8 else float(f"{value:.4g}")
    return min(repr(digits), _scientific(digits), key=len)


def format_override(override: str) -> str:
    """An override as a person types it: `lr=0.001` is `lr=1e-3`. The value is the same."""
    key, _, text = override.partition("=")
    try:
        scientific = _scientific(float(text))
    except ValueError:
        return override
    is_whole = text.lstrip("-").isdigit()
    is_the_same = float(scientific) == float(text) and len(scientific) < len(text)
    return f"{key}={scientific}" if is_the_same and not is_whole else override


def _scientific(value: float) -> str:
    mantissa, _, exponent = f"{value:.15e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def format_point(params: Mapping[str, Any]) -> str:
    """`lr=1e-3 hidden_dim=64`."""
    return " ".join(f"{name}={format_param(value)}" for name, value in params.items())


def format_age(seconds: float) -> str:
    """just now, 5 minutes ago, 2 hours ago, yesterday, 3 days ago."""
    minutes, hours, days = (int(seconds // size) for size in (60, 3600, 86400))
    if days == 1:
        return "yesterday"
    for number, noun in ((days, "day"), (hours, "hour"), (minutes, "minute")):
        if number > 0:
            return f"{pluralize(number, noun)} ago"
    return "just now"


def format_duration(seconds: float) -> str:
    """14 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def pluralize(number: int, noun: str) -> str:
    """1 trial, 2 trials."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean a, b?` with the names nearest to a mistyped one, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=3)
    return f"did you mean {' or '.join(near)}?" if near else ""


def shorten_middle(text: str, width: int | None) -> str:
    """Replace the middle of a text longer than `width` by `…`: paths differ at their ends."""
    if width is None or len(text) <= width:
        return text
    half = width // 2
    return f"{text[: width - half]}…{text[1 - half :]}"
