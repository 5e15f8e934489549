"""A run beside its reproduction, in words and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.commands.as_json import describe
from hrm_sweep.runs import compare
from hrm_sweep.runs.app import Runner
from hrm_sweep.runs.run import Run
from hrm_sweep.system import environment


def environment_differences(run: Run, runner: Runner | None) -> list[str] | None:
    """Return the differences between the run's environment and this one; None: it has none."""
    if not (then := run.environment):
        return None
    source = environment.PACKAGE if runner else Path(then.get("source", environment.PACKAGE))
    return list(compare.differences(then, environment.environment(source)))


def environment_lines(run: Run, differing: list[str] | None) -> list[str]:
    """Return what `environment_differences` found in lines for the user."""
    if differing is None:
        return ["environment.json is missing: the environments cannot be compared"]
    commit = "same commit" if run.environment.get("git_commit") else "no commit known"
    return [f"differs: {text}" for text in differing] or [f"same versions, same CPU, {commit}"]


@dataclass(frozen=True)
class Reproduction:
    """A run and the one that repeats its recipe.

    Args:
        tolerance: largest accepted difference.
    """

    original: Run
    again: Run
    tolerance: float

    @cached_property
    def compared(self) -> compare.Comparison:
        """Every value of the one beside that of the other."""
        return compare.compare(self.original, self.again)

    @property
    def verdict(self) -> str:
        """identical, within the tolerance, or no."""
        return self.compared.verdict(self.tolerance)

    def print_verdict(self, *, is_of_this_app: bool) -> None:
        """Print whether the values are the same, and what differs."""
        print(f"\n{self._verdict()}")
        for difference in compare.other_work(self.original, self.again):
            print(f"  differs: {difference}")
        if is_of_this_app and "weights" not in self.original.facts:
            print("  not compared: the final weights; the run did not end at the end of an epoch")

    def print_changes(self) -> None:
        """Print the values of a recipe before and after a change."""
        original, changed = self.original, self.again
        print(f"\n  before and now, at the best epoch of each ({changed.folder}):")
        for name in sorted(original.values.keys() & changed.values.keys()):
            before, now = (run.app.metrics.metric(run.values, name) for run in (original, changed))
            print(f"    {name:<32} {before:>10} → {now}")

    def as_json(self, changes: Sequence[str]) -> dict[str, Any]:
        """Return it as a tree of plain values.

        Args:
            changes: overrides with which it was run again; there is no verdict then.
        """
        compared, drifts = self.compared, self.compared.drifts
        return {
            "original": describe(self.original),
            "again": describe(self.again),
            "changes": list(changes),
            "verdict": None if changes else self.verdict,
            "tolerance": self.tolerance,
            "num_values": compared.num_values,
            "num_identical": compared.num_values - len(drifts),
            "weights_equal": compared.weights_equal,
            "first_difference": as_json(drifts[0]) if drifts else None,
            "largest_difference": as_json(compared.largest) if drifts else None,
            "other_work": list(compare.other_work(self.original, self.again)),
        }

    def _verdict(self) -> str:
        compared = self.compared
        same = compared.num_values - len(compared.drifts)
        identical = f"{same} of {compared.num_values} values"
        took = formatting.format_duration(self.again.seconds)
        if compared.is_identical:
            weights = " and the final weights" if compared.weights_equal else ""
            return f"Reproduced: {identical}{weights} are identical, bit for bit ({took})."
        weights = "; the final weights differ" if compared.weights_equal is False else ""
        how = "Not reproduced" if self.verdict == "no" else f"Reproduced {self.verdict}"
        lines = [f"{how}: {identical} are identical{weights} ({took})."]
        if compared.drifts:
            lines += [
                f"  first difference  {_describe(compared.drifts[0])}",
                f"  largest           {_describe(compared.largest)}",
            ]
        return "\n".join(lines)


def _describe(drift: compare.Drift) -> str:
    now = "not measured" if drift.now is None else f"now {drift.now}"
    where = "final" if drift.step is None else f"step {drift.step},"
    return f"{where} {drift.name}: {drift.before}, {now}"


def as_json(drift: compare.Drift) -> dict[str, Any]:
    """Return a value that did not come out again as a tree of plain values."""
    fields = {"step": drift.step, "name": drift.name, "before": drift.before, "now": drift.now}
    return {**fields, "size": drift.size}
