"""What `list --filter` understands: comparisons joined by `and`, as in MLflow's search.

lr<1e-3 and eval/exact_match > 90%
params.lr < 1e-3 and metrics."eval/loss" < 0.3 and tags.stage = 'paper' and name like '2026%'
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.commands.listed import Listed
from hrm_sweep.errors import InputError

EXAMPLE = "'lr<1e-3 and eval/exact_match>0.9'"
MOST_KEYS = 12
"""Keys that an error message lists."""
_COMPARISON = re.compile(
    r"""\s*(?:(?P<kind>attributes?|params?(?:eters?)?|metrics?|tags?)\.)?
    (?P<key>"[^"]+"|`[^`]+`|[^\s<>=!"'`]+?)
    \s*(?P<sign><=|>=|!=|==|=|<|>|(?<=[\s"`])(?i:like)(?=[\s"']))
    \s*(?P<value>"[^"]*"|'[^']*'|[^\s"']+)""",
    re.VERBOSE,
)
_AND = re.compile(r"\s+and\b", re.IGNORECASE)
_KINDS = ("attributes", "params", "metrics", "tags")
_ORDERS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class _Comparison:
    text: str
    """As it was typed."""
    kind: str
    """One of `_KINDS`; empty: whatever has such a key."""
    key: str
    sign: str
    value: str

    def holds(self, found: Any) -> bool:
        """Return whether it holds for the values that a study or run has under its key.

        An outcome is a list of all that trials have: one of them is enough, and none may be for !=.
        """
        values = found if isinstance(found, list) else [found]
        if self.sign == "!=":
            return not any(_equal(value, self.value) for value in values)
        return any(map(self._holds_for, values))

    def _holds_for(self, value: Any) -> bool:
        if order := _ORDERS.get(self.sign):
            number, limit = _number(value), _number(self.value)
            return number is not None and limit is not None and order(number, limit)
        if self.sign == "like":
            pattern = re.sub(r"[*?\[]", r"[\g<0>]", self.value).replace("%", "*").replace("_", "?")
            return fnmatchcase(_text(value), pattern)
        return _equal(value, self.value)


class Filter:
    """What a line of `list` has to satisfy.

    Args:
        texts: each with comparisons; all must hold.

    Raises:
        InputError: one cannot be read.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._comparisons = [each for text in texts for each in _parsed(text)]

    def select(self, lines: Sequence[Listed]) -> list[Listed]:
        """Return the lines that satisfy it.

        Raises:
            InputError: none of the lines, if there are any, has a key that it compares.
        """
        known = [(line, _values(line)) for line in lines]
        for comparison in self._comparisons if known else ():
            kind, key = _place(comparison, [values for _, values in known])
            known = [
                (line, values)
                for line, values in known
                if key in values[kind] and comparison.holds(values[kind][key])
            ]
        return [line for line, _ in known]


_Values = Mapping[str, Mapping[str, Any]]


def _values(line: Listed) -> _Values:
    """Return what a line has to compare, by kind and key."""
    outcomes = list(line.outcomes)
    attributes = {
        "name": line.name,
        "kind": line.kind,
        "outcome": outcomes,
        "status": outcomes,
        "app": line.found.app.name,
        "trials": sum(line.outcomes.values()),
        "folder": str(line.folder),
        "note": line.found.annotations.note,
    }
    metrics = line.best.values if line.best else {}
    tags = line.found.annotations.tags
    return {"attributes": attributes, "params": line.params, "metrics": metrics, "tags": tags}


def _place(comparison: _Comparison, known: Iterable[_Values]) -> tuple[str, str]:
    """Return the kind and the whole key that a comparison is about.

    A key is a whole one of the first kind that has it, and otherwise the last word of a whole one.
    """
    kinds = [comparison.kind] if comparison.kind else _KINDS
    keys = {kind: sorted({key for values in known for key in values[kind]}) for kind in kinds}
    for kind in kinds:
        if comparison.key in keys[kind]:
            return kind, comparison.key
    for kind in kinds:
        if ends := [key for key in keys[kind] if re.split(r"[./]", key)[-1] == comparison.key]:
            if len(ends) > 1:
                raise _cannot(comparison.text, f"may be {' or '.join(ends)}; write one of them")
            return kind, ends[0]
    there = [key for kind in kinds for key in keys[kind]]
    what = comparison.kind.rstrip("s") if comparison.kind else "parameter, metric or tag"
    near = formatting.did_you_mean(comparison.key, there)
    hint = near or f"there are {formatting.shorten_list(there, MOST_KEYS)}" if there else "none"
    raise _cannot(comparison.text, f"no {what} is called {comparison.key}; {hint}")


def _parsed(text: str) -> list[_Comparison]:
    found, rest = [], text
    while match := _COMPARISON.match(rest):
        kind = next(
            (each for each in _KINDS if match["kind"] and each[:3] == match["kind"][:3]), ""
        )
        key, value = (
            re.sub(r"""^(["'`])(.*)\1$""", r"\2", match[name]) for name in ("key", "value")
        )
        sign = match["sign"].lower().replace("==", "=")
        if sign in _ORDERS and _number(value) is None:
            raise _cannot(text, f"{sign} compares numbers, and {value or 'nothing'} is none")
        found.append(_Comparison(match[0].strip(), kind, key, sign, value))
        rest = rest[match.end() :]
        if not rest.strip():
            return found
        if not (joint := _AND.match(rest)):
            break
        rest = rest[joint.end() :]
    raise _cannot(text, f"cannot be read from {rest.strip() or 'its end'!r} on; write {EXAMPLE}")


def _cannot(text: str, why: str) -> InputError:
    return InputError(f"--filter {text!r}: {why}")


def _equal(found: Any, wanted: str) -> bool:
    numbers = _number(found), _number(wanted)
    return numbers[0] == numbers[1] if None not in numbers else _text(found) == wanted


def _number(value: Any) -> float | None:
    """Return a number as such, also a text such as 1e-3 or 90%; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        text = str(value)
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def _text(value: Any) -> str:
    """Return a value as an override has it."""
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
