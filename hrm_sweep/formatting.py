"""Metrics, parameters, names and times as text for the user."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch, fnmatchcase
from typing import Any

LONGEST_VALUE = 60
"""Characters of a value in a table or a line, where no width says less."""
LONGEST_COMMAND = 1000
"""Characters of a command that is printed: a longer one is no use on a screen."""


def metric_label(metric: str) -> str:
    """Return a metric's name in a table: `eval/top_5` is "top 5", `train/loss` "train loss"."""
    of_training = "train " if metric.startswith("train/") else ""
    return of_training + metric.rpartition("/")[2].replace("_", " ")


@dataclass(frozen=True)
class MetricFormat:
    """How the values of an app's metrics are shown.

    What an app calls accuracy may be in per cent already, so only metrics that the app names are
    shown as per cent.
    """

    shares: tuple[str, ...] = ()
    """Patterns of metrics between 0 and 1; `*` stands for any text."""

    def value(self, metric: str, value: float | None, deviation: float | None = None) -> str:
        """Return a share as per cent, anything else with four digits, None as a dash.

        A standard deviation follows the value: `98.4 ± 0.6 %`.
        """
        if value is None:
            return "-"
        share = self.is_share(metric)
        unit = " %" if share else ""
        numbers = [number for number in (value, deviation) if number is not None]
        texts = [f"{100 * number:.1f}" if share else f"{number:.4g}" for number in numbers]
        return " ± ".join(texts) + unit

    def metric(self, values: Mapping[str, float], name: str) -> str:
        """Return one of the values, with its standard deviation if there is one."""
        return self.value(name, values.get(name), values.get(f"{name}/std"))

    def metrics(self, values: Mapping[str, float], names: Iterable[str]) -> str:
        """Return several values: `loss 0.0122  exact match 98.4 %`."""
        return "  ".join(f"{metric_label(name)} {self.metric(values, name)}" for name in names)

    def is_share(self, metric: str) -> bool:
        """Return whether a metric is shown as per cent."""
        return any(fnmatchcase(metric, pattern) for pattern in self.shares)


def matching_metrics(values: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the names that match a pattern (`*` is any text), in the order of the patterns."""
    names = list(values)
    fitting = [name for pattern in patterns for name in names if fnmatch(name, pattern)]
    return [name for name in fitting if not name.endswith("/std")]


def format_param(value: Any, width: int | None = LONGEST_VALUE) -> str:
    """Return a parameter as a user would type it: 0.0001 is 1e-4, 10.0 is 10, None is null.

    Args:
        width: in characters, to which a long one is cut; None: nothing is cut.
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if not isinstance(value, float) or not math.isfinite(value):
        return shorten_middle(str(value), width)
    digits = value if len(repr(value)) <= 8 else float(f"{value:.4g}")
    return min(repr(digits).removesuffix(".0"), _scientific(digits), key=len)


def format_override(override: str) -> str:
    """Return an override as the user would type it, with the same value: `lr=1e-3` for 0.001."""
    key, _, text = override.partition("=")
    try:
        scientific = _scientific(float(text))
    except ValueError:
        return override
    is_whole = text.lstrip("-").isdigit()
    is_the_same = float(scientific) == float(text) and len(scientific) < len(text)
    return f"{key}={scientific}" if is_the_same and not is_whole else override


def format_recipe(overrides: Iterable[str]) -> str:
    """Return overrides in one line to read, not to paste: long ones are cut."""
    return " ".join(shorten_middle(format_override(text), LONGEST_VALUE) for text in overrides)


def _scientific(value: float) -> str:
    mantissa, _, exponent = f"{value:.15e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def format_point(params: Mapping[str, Any]) -> str:
    """`lr=1e-3 hidden_dim=64`."""
    return " ".join(f"{name}={format_param(value)}" for name, value in params.items())


def format_age(seconds: float) -> str:
    """Just now, 5 minutes ago, 2 hours ago, yesterday, 3 days ago."""
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


def format_bytes(number: int) -> str:
    """812 bytes, 64 kB, 1.2 MB, 3.4 GB."""
    for power, unit in ((3, "GB"), (2, "MB")):
        if number >= 1000**power:
            return f"{number / 1000**power:.1f} {unit}"
    return f"{round(number / 1000)} kB" if number >= 1000 else pluralize(number, "byte")


def shorten_list(names: Sequence[str], most: int = 5) -> str:
    """Return names as text, the first ones and how many more there are: `a, b and 3 more`."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def ranges(numbers: Iterable[int]) -> str:
    """Return sorted numbers as text, consecutive ones together: `0 to 4, 7`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in spans)


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


def escape_markdown(text: str) -> str:
    """Return a text that Markdown shows as it is: no link, no picture, no HTML, one paragraph."""
    return re.sub(r"([\\`*\[\]<>])", r"\\\1", " ".join(text.splitlines()))


def markdown_code(text: object) -> str:
    """Return a text as code in a line of Markdown, whatever is in it."""
    line = " ".join(str(text).splitlines())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence}{line}{fence}" if len(fence) == 1 else f"{fence} {line} {fence}"
