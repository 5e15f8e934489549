"""Comparison of a run with its reproduction.

Compares what the records prove, what has changed since, and by how much numbers drifted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import layout
from hrm_sweep.runs.curves import CLOCK, is_same
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.recipe import is_of_the_recipe
from hrm_sweep.runs.run import Run

Curves = Mapping[int, Mapping[str, float]]


def check(run: Run) -> None:
    """Check that a run's record can be compared with.

    Raises:
        RecordError: it was edited or is incomplete; what and where is named.
    """
    measured = measurements(run)  # reads the whole record, line by line
    if run.outcome is None:
        raise RecordError(f"{run.folder}: this run is not finished; wait for its end")
    if not (measured or run.values):
        raise RecordError(
            f"{run.folder}: it measured nothing ({run.word}), so there is nothing to compare with"
        )
    if run.last.event != "finished" or run.outcome is Outcome.KILLED:
        return  # a killed run has no result.json; its measurements are whole
    try:
        result = json.loads((run.folder / layout.RESULT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(f"{run.folder}: incomplete, result.json is missing") from None
    except ValueError:
        raise RecordError(f"{run.folder / 'result.json'}: edited, it is no JSON") from None
    said = {name: float(value) for name, value in result.get("values", {}).items()}
    for name in sorted(said.keys() | run.values.keys()):
        if said.get(name) != run.values.get(name):
            raise RecordError(
                f"{run.folder / 'result.json'}: edited, it has {name}={said.get(name)} and the "
                f"record {run.values.get(name)}"
            )


def measurements(run: Run) -> dict[int, dict[str, float]]:
    """Return what can be compared, by step: all but metrics of the clock."""
    return {step: _without_clock(values) for step, values in run.curves.items()}


def _without_clock(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if not name.startswith(CLOCK)}


@dataclass(frozen=True)
class Drift:
    """One value that did not come out again."""

    step: int | None
    """None: a final value."""
    name: str
    before: float
    now: float | None
    """None: it was not measured at all."""

    @property
    def size(self) -> float:
        """Difference in units of the value, or of one for small values; inf if unknown."""
        if self.now is None or not (math.isfinite(self.before) and math.isfinite(self.now)):
            return math.inf
        return abs(self.now - self.before) / max(1.0, abs(self.before))


@dataclass(frozen=True)
class Comparison:
    """A run beside its reproduction."""

    num_values: int
    drifts: list[Drift]
    """In the order they were measured."""
    weights_equal: bool | None
    """None: one of the two left no digest of its weights."""

    @property
    def is_identical(self) -> bool:
        """Whether all values are the same bits, and the weights as far as known."""
        return not self.drifts and self.weights_equal is not False

    def is_within(self, tolerance: float) -> bool:
        """Whether no value drifted by more; the weights may differ then."""
        return all(drift.size <= tolerance for drift in self.drifts)

    def verdict(self, tolerance: float) -> str:
        """identical, within the tolerance (0: there is none), or no."""
        if self.is_identical:
            return "identical"
        return f"within {tolerance:g}" if tolerance > 0 and self.is_within(tolerance) else "no"

    @property
    def largest(self) -> Drift:
        """The largest drift."""
        return max(self.drifts, key=lambda drift: drift.size)


def compare(before: Run, now: Run) -> Comparison:
    """Compare every value of every step that `before` measured, its final values and weights."""
    compared = compare_values(before, now.curves, weights=now.facts.get("weights"))
    final = _without_clock(before.values)
    drifts = [*compared.drifts, *_drifts(None, final, now.values)]
    return replace(compared, num_values=compared.num_values + len(final), drifts=drifts)


def compare_values(before: Run, now: Curves, *, weights: str | None) -> Comparison:
    """Compare with a run whose record is not closed yet.

    Args:
        now: what it measured, by step.
        weights: digest of its final weights, None if it left none.
    """
    then = measurements(before)
    drifts = [
        drift for step, values in then.items() for drift in _drifts(step, values, now.get(step, {}))
    ]
    digests = [before.facts.get("weights"), weights]
    equal = None if None in digests else digests[0] == digests[1]
    return Comparison(sum(map(len, then.values())), drifts, equal)


def _drifts(
    step: int | None, before: Mapping[str, float], now: Mapping[str, float]
) -> Iterator[Drift]:
    for name, value in before.items():
        if name not in now or not is_same(value, now[name]):
            yield Drift(step, name, value, now.get(name))


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences between two environments, as far as the first one is recorded."""
    for key, label in (("python", "Python"), ("platform", "platform"), ("cpu", "CPU")):
        if key in before and before[key] != now[key]:
            yield f"{label}: {before[key]}, now {now[key]}"
    had, has = (set(side.get("cpu_features") or ()) for side in (before, now))
    if "cpu_features" in before and had != has:
        yield f"CPU features: {_changed(had, has)}"
    packages = before.get("packages", {})
    for name, version in packages.items():
        if now["packages"].get(name) != version:
            yield f"{name}: {version}, now {now['packages'].get(name, 'not installed')}"
    yield from _commits(before, now)


def other_work(before: Run, now: Run) -> Iterator[str]:
    """Yield in what two runs of one recipe did other work, as far as the first one recorded it.

    The files of a data set may have changed, and the machine decides whether `auto` compiles.
    """
    digests = [run.dataset.get("digest") for run in (before, now)]
    if digests[0] and digests[0] != digests[1]:
        yield f"data set {before.dataset['name']}: its digest was {digests[0]}, now {digests[1]}"
    compiled = [run.facts.get("compiled") for run in (before, now)]
    if compiled[0] and compiled[0] != compiled[1]:
        yield f"compiled (trainer.compile): {compiled[0]}, now {compiled[1]}"


def changed_config(
    recorded: Mapping[str, Any], now: Mapping[str, Any], ignored_keys: Collection[str]
) -> dict[str, Any]:
    """Return the keys that can change a result and have another value now, with the recorded value.

    Both configs have flat keys. Keys that are new are left to their defaults.
    """
    return {
        key: value
        for key, value in recorded.items()
        if is_of_the_recipe(key, ignored_keys) and now.get(key) != value
    }


def _commits(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    commits = [side.get("git_commit") for side in (before, now)]
    if commits[0] != commits[1]:
        shown = [commit[:10] if commit else "not known" for commit in commits]
        yield f"git commit: {shown[0]}, now {shown[1]}"
    dirty = [side.get("git_dirty") for side in (before, now)]
    if any(dirty) and (dirty[0] != dirty[1] or before.get("git_changes") != now["git_changes"]):
        when = "then" if dirty[0] and not dirty[1] else "now" if not dirty[0] else "then and now"
        yield f"uncommitted changes {when}{', other ones' if all(dirty) else ''}"


def _changed(had: set[str], has: set[str]) -> str:
    lost = [f"without {name}" for name in sorted(had - has)]
    return ", ".join([*lost, *(f"with {name}" for name in sorted(has - had))])
