"""Studies and runs beside each other: what `compare` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hrm_sweep.commands.as_json import describe
from hrm_sweep.commands.resolve import name_of
from hrm_sweep.runs.environments import flat_environment
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.ranking import Verdict, compared, ranked
from hrm_sweep.runs.recipe import is_of_the_recipe
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_names import study_around
from hrm_sweep.runs.study import Study


@dataclass(frozen=True)
class Side:
    """One of the things that are compared: a run, or a study, for which its best trial stands."""

    found: Study | Run

    @property
    def name(self) -> str:
        """What names it in a command."""
        return name_of(self.found)

    @cached_property
    def run(self) -> Run | None:
        """The run that is compared; None: the study has no complete trial."""
        if isinstance(self.found, Run):
            return self.found
        return next(iter(ranked(self.found)), None)

    @cached_property
    def study(self) -> Study | None:
        """The study that it is, or is part of."""
        return study_around(self.found) if isinstance(self.found, Run) else self.found

    @property
    def aims(self) -> list[tuple[str, str]]:
        """Objectives and directions of its study; a single run has none."""
        study = self.study
        return list(zip(study.objective_names, study.directions, strict=True)) if study else []

    def is_valid(self, objective: str) -> bool:
        """Return whether it has a result that may be the best."""
        run = self.run
        if run is None or run.outcome is not Outcome.COMPLETE or objective not in run.values:
            return False
        return self.study is None or not self.study.objectives.broken(run.values)


@dataclass(frozen=True)
class Comparison:
    """Several sides, at least two."""

    sides: Sequence[Side]
    asked: str | None = None
    """The metric to compare by; None: the objective of the studies, or what all have measured."""

    @cached_property
    def known(self) -> dict[str, Run]:
        """The runs that are compared, by the name of their side."""
        return {side.name: side.run for side in self.sides if side.run is not None}

    @cached_property
    def aims(self) -> list[tuple[str, str]]:
        """The first objective of each study, each once."""
        return list(dict.fromkeys(side.aims[0] for side in self.sides if side.aims))

    @cached_property
    def metric(self) -> str:
        """The metric to compare by; empty: no run has any."""
        if self.asked or self.aims:
            return self.asked or self.aims[0][0]
        runs = list(self.known.values())
        of_all = [name for name in runs[0].values if all(name in run.values for run in runs)]
        shown = [name for name in runs[0].app.curves if name in of_all]
        return next(iter([*reversed(shown), *of_all, *runs[0].values]), "")

    @property
    def direction(self) -> str | None:
        """Maximize or minimize; None: the sides do not agree on it."""
        wanted = {way for side in self.sides for name, way in side.aims if name == self.metric}
        return wanted.pop() if len(wanted) == 1 else None

    def lead(self) -> tuple[Side, Side, Verdict] | None:
        """Return the best side, the next best, and how sure that order is; None: there is none."""
        if (direction := self.direction) is None or len(self.aims) > 1:
            return None
        sign = -1 if direction == "maximize" else 1
        valid = [(side, side.run) for side in self.sides if side.is_valid(self.metric) and side.run]
        order = sorted(valid, key=lambda pair: sign * pair[1].values[self.metric])
        if len(order) < 2:
            return None
        (first, best), (second, other) = order[:2]
        return first, second, compared(best, other, self.metric, direction)

    def configs(self) -> dict[str, dict[str, Any]]:
        """Return the keys that can change a result and differ: values by key and side."""
        runs = self.known.values()
        return {
            key: found
            for key, found in _differing({name: run.config for name, run in self.known.items()})
            if all(is_of_the_recipe(key, run.app.ignored_keys) for run in runs)
        }

    def environments(self) -> dict[str, dict[str, str]]:
        """Return what differs between the environments: texts by name and side."""
        known = {name: flat_environment(run) for name, run in self.known.items()}
        return dict(_differing({name: each for name, each in known.items() if each}))

    def values(self) -> dict[str, dict[str, float]]:
        """Return the final values, at the best step where the app chose one, by metric and side."""
        runs = self.known.items()
        names = dict.fromkeys(metric for _, run in runs for metric in run.values)
        return {
            metric: {name: run.values[metric] for name, run in runs if metric in run.values}
            for metric in names
            if not metric.endswith("/std")
        }

    def as_json(self) -> dict[str, Any]:
        """Return it as a tree of plain values."""
        lead = self.lead()
        return {
            "runs": {name: describe(run) for name, run in self.known.items()},
            "without_result": [side.name for side in self.sides if side.run is None],
            "metric": self.metric or None,
            "direction": self.direction,
            "best": lead[0].name if lead else None,
            "next_best": lead[1].name if lead else None,
            "is_clear": lead[2].is_clear if lead else None,
            "p_value": lead[2].p_value if lead else None,
            "values": self.values(),
            "config": self.configs(),
            "environment": self.environments(),
        }


def _differing(trees: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the keys that not all trees have alike, and what each has that has one."""
    found = []
    for key in dict.fromkeys(key for tree in trees.values() for key in tree):
        values = {name: tree[key] for name, tree in trees.items() if key in tree}
        if len(values) < len(trees) or len({repr(value) for value in values.values()}) > 1:
            found.append((key, values))
    return found
