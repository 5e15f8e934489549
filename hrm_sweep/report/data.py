"""What a report shows of a study, gathered once from its folder."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

from hrm_sweep import formatting
from hrm_sweep.errors import RecordError
from hrm_sweep.formatting import shorten_middle
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.ranking import front, ranked
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.search.distributions import read_distributions, searched_log
from hrm_sweep.search.scale import is_logarithmic, is_numeric
from hrm_sweep.search.values import Value

Curve = Mapping[int, float]

LONGEST = 120
"""Letters of a point in a line that describes its trial."""


class Scale(NamedTuple):
    """How the values of an axis lie on it."""

    is_log: bool = False
    bounds: tuple[float, float] | None = None
    """Ends of an interval that was searched; None: those of the values themselves."""


@dataclass(frozen=True)
class Data:
    """A study as figures and tables need it."""

    study: Study

    @property
    def objective(self) -> str:
        """The first objective."""
        return self.study.objective_names[0]

    @property
    def is_maximized(self) -> bool:
        """Whether the first objective is maximized."""
        return self.study.directions[0] == "maximize"

    @cached_property
    def ranked(self) -> list[Run]:
        """Complete trials, the best first."""
        return ranked(self.study)

    @cached_property
    def complete(self) -> list[Run]:
        """Complete trials in the order of their numbers."""
        return sorted(self.ranked, key=lambda run: run.number or 0)

    @cached_property
    def kept(self) -> list[Run]:
        """Complete trials that keep to the constraints, in the order of their numbers."""
        return [run for run in self.complete if not self.study.objectives.broken(run.values)]

    @property
    def so_far(self) -> tuple[list[int], list[float]]:
        """Numbers of trials, and the best objective up to each of them, of those in `kept`."""
        better = max if self.is_maximized else min
        values = accumulate((run.values[self.objective] for run in self.kept), better)
        return [run.number or 0 for run in self.kept], list(values)

    @cached_property
    def best(self) -> Run | None:
        """The best complete trial."""
        return self.ranked[0] if self.ranked else None

    @cached_property
    def front(self) -> list[Run]:
        """The Pareto front of a study with several objectives, else nothing."""
        return front(self.study) if len(self.study.objective_names) > 1 else []

    @cached_property
    def tied(self) -> list[Run]:
        """The best trials, the first ahead, if several are equal and the tie breaker decides."""
        if self.best is None or not self.study.tie_breaker or len(self.study.objective_names) > 1:
            return []
        best = self.best.values[self.objective]
        equal = [run for run in self.ranked if run.values[self.objective] == best]
        equal = [run for run in equal if not self.study.objectives.broken(run.values)]
        return equal if len(equal) > 1 else []

    @cached_property
    def failed(self) -> list[Run]:
        """Trials that ended without a value to be judged by, but for pruned ones."""
        kept = (None, Outcome.COMPLETE, Outcome.PRUNED)
        return [run for run in self.study.trials if run.outcome not in kept]

    @cached_property
    def curves(self) -> dict[int, Curve]:
        """The objective by step, by trial number; of a trial with repeats their mean."""
        return {number: curve for number, curve in self._measured.items() if len(curve) > 1}

    @cached_property
    def _measured(self) -> dict[int, Curve]:
        return {run.number or 0: curve(run, self.objective) for run in self.study.trials}

    @cached_property
    def pruned(self) -> list[tuple[Run, float]]:
        """Pruned trials that have measured the objective, and what it was at last."""
        runs = [run for run in self.study.trials if run.outcome is Outcome.PRUNED]
        found = [(run, [*self._measured[run.number or 0].values()]) for run in runs]
        return [(run, values[-1]) for run, values in found if values]

    @cached_property
    def params(self) -> dict[str, list[Value]]:
        """The columns of complete trials, in the order of `ranked`."""
        return self.columns(self.ranked)

    def columns(self, runs: Sequence[Run]) -> dict[str, list[Value]]:
        """Return the values that some trials have of each searched key.

        A key with a single value, or that some trial lacks, is left out.
        """
        points = [self.study.params(run) for run in runs]
        names = [name for name in self.study.searched if all(name in point for point in points)]
        columns = {name: [point[name] for point in points] for name in names}
        return {name: values for name, values in columns.items() if len(set(values)) > 1}

    @cached_property
    def distributions(self) -> Mapping[str, Any]:
        """The study's search space in Optuna; nothing if its record lacks it."""
        return read_distributions(self.study.distributions)

    @property
    def points(self) -> list[dict[str, Value]]:
        """The searched keys of each complete trial, in the order of their numbers."""
        return [self.study.params(run) for run in self.complete]

    def scale(self, name: str) -> Scale:
        """Return the scale of a parameter; an interval that was searched is shown whole."""
        distribution: Any = self.distributions.get(name)
        is_interval = " to " in self.study.space.get(name, "") and hasattr(distribution, "low")
        return Scale(
            self.is_log(name), (distribution.low, distribution.high) if is_interval else None
        )

    def is_log(self, name: str) -> bool:
        """Return whether a parameter has a logarithmic scale.

        That is as it was searched; a list of numbers has one if it spans a decade.
        """
        if (is_log := searched_log(self.distributions.get(name))) is not None:
            return is_log
        described, values = self.study.space.get(name, ""), self.params.get(name, [])
        if " to " in described:  # an older record
            return described.endswith("(log)")
        numbers: list[Any] = list(values)
        return bool(numbers) and is_numeric(numbers) and is_logarithmic(min(numbers), max(numbers))

    def describe(self, number: int) -> str:
        """Return a trial in one line: number, point, value of the objective or how it ended."""
        run = self._by_number[number]
        value = run.values.get(self.objective)
        is_complete = run.outcome is Outcome.COMPLETE
        shown = self.study.app.metrics.value(self.objective, value) if is_complete else run.word
        point = shorten_middle(formatting.format_point(self.study.params(run)), LONGEST)
        return " · ".join(filter(None, (f"trial {number}", point, shown)))

    @cached_property
    def _by_number(self) -> dict[int, Run]:
        return {run.number or 0: run for run in self.study.trials}

    @cached_property
    def values(self) -> list[float]:
        """The objective of each of `ranked`."""
        return [run.values[self.objective] for run in self.ranked]

    @cached_property
    def parts(self) -> list[str]:
        """Metrics that the objective is made up of, such as `eval/exact_match/copy`."""
        if self.best is None:
            return []
        inside = f"{self.objective}/"
        return [n for n in self.best.values if n.startswith(inside) and not n.endswith("/std")]


def curve(run: Run, metric: str) -> Curve:
    """Return a metric by step; of a trial with repeats their mean, at the steps that all have."""
    if not run.repeats:
        return _of_one(run, metric)
    curves = [_of_one(repeat, metric) for repeat in run.repeats]
    steps = set(curves[0]).intersection(*curves[1:])
    return {step: statistics.fmean(each[step] for each in curves) for step in sorted(steps)}


def _of_one(run: Run, metric: str) -> Curve:
    with contextlib.suppress(RecordError):  # of the run whose result it reuses; named elsewhere
        return {step: at[metric] for step, at in run.curves.items() if metric in at}
    return {}
