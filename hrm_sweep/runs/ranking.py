"""Which trial of a study is the best, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study

SURE = 0.05
"""Significance level: below it, the second best is clearly worse."""


def ranked(study: Study) -> list[Run]:
    """Complete trials, the best first, in the order that the study itself goes by."""
    return study.objectives.ranked(complete(study), lambda run: run.values)


def complete(study: Study) -> list[Run]:
    """Trials that can be judged."""
    wanted = set(study.objectives.required)
    return [
        run
        for run in study.trials
        if run.outcome is Outcome.COMPLETE and wanted <= run.values.keys()
    ]


def front(study: Study) -> list[Run]:
    """Return the Pareto front, ordered by the first objective.

    It has the complete trials that no other beats in one objective without being worse in another.
    """
    found = study.objectives.front(complete(study), lambda run: run.values)
    sign = -1 if study.directions[0] == "maximize" else 1
    return sorted(found, key=lambda run: sign * run.values[study.objective_names[0]])


@dataclass(frozen=True)
class Verdict:
    """Whether the best trial is better than the next by more than noise."""

    is_clear: bool | None
    """None: unknown."""
    p_value: float | None
    """Chance of a lead this large, or larger, between two equally good trials."""
    rule: str
    """How it was judged."""

    @property
    def words(self) -> str:
        """The verdict in words."""
        if self.is_clear is None:
            return self.rule
        verdict = "clearly worse" if self.is_clear else "not clearly worse"
        return f"{verdict}: {self.rule}"


def next_best(study: Study, best_first: list[Run]) -> str:
    """Return the second best trial in words, and how certain the lead of the best one is.

    Empty where only violated constraints separate the two.
    """
    first, *others = best_first
    if not others or study.objectives.broken(first.values):
        return ""
    second = others[0]  # trials that break constraints come last
    objective = study.objective_names[0]
    if study.objectives.broken(second.values):
        return "none, no other trial keeps to the constraints"
    value = study.app.metrics.metric(second.values, objective)
    verdict = compared(first, second, objective, study.directions[0])
    text = f"{value} (trial {second.number}), {verdict.words}"
    if first.values[objective] == second.values[objective] and study.tie_breaker:
        text += f"; the lower {study.tie_breaker} decides"
    return text


def compared(best: Run, other: Run, metric: str, direction: str) -> Verdict:
    """Judges the lead of `best` in `metric`, which is to be maximized or minimized.

    Repeated trials by Welch's t-test on the repeats (Welch 1947, Biometrika 34), one-sided. Single
    runs, and repeats that are all equal, by the two-proportion z-test with the pooled share, where
    the metric is a share of held-out examples: of those of one run, and that both were measured on
    the same examples makes the test cautious. Neither corrects for the best having been picked from
    many.
    """
    sign = -1 if direction == "minimize" else 1
    lead = sign * (best.values[metric] - other.values[metric])
    if not lead:
        return Verdict(False, None, "they are equal")
    are_repeated = len(best.repeats) > 1 and len(other.repeats) > 1
    if are_repeated and any(run.values.get(f"{metric}/std") for run in (best, other)):
        return _welch(best, other, metric, lead)
    if best.app.is_proportion(metric) and best.num_held_out and other.num_held_out:
        return _two_shares(best, other, metric, lead)
    if are_repeated:
        return Verdict(None, None, "no repeat of either differs, which leaves no noise to judge by")
    would_show = best.app.in_own_keys("hydra.sweeper.repeats=3 would show")
    return Verdict(None, None, f"one run of each cannot tell it from noise; {would_show}")


def _welch(best: Run, other: Run, metric: str, lead: float) -> Verdict:
    from scipy.special import stdtr  # its import costs a tenth of a second

    runs = (best, other)
    errors = [run.values.get(f"{metric}/std", 0.0) ** 2 / len(run.repeats) for run in runs]
    freedom = sum(errors) ** 2 / sum(
        error**2 / (len(run.repeats) - 1) for error, run in zip(errors, runs, strict=True)
    )
    chance = float(stdtr(freedom, -lead / math.sqrt(sum(errors))))
    return Verdict(chance < SURE, chance, f"Welch's t-test over repeats, p = {_rounded(chance)}")


def _two_shares(best: Run, other: Run, metric: str, lead: float) -> Verdict:
    sizes = [float(run.num_held_out or 0) for run in (best, other)]
    shares = [run.values[metric] for run in (best, other)]
    pooled = sum(size * share for size, share in zip(sizes, shares, strict=True)) / sum(sizes)
    error = math.sqrt(pooled * (1 - pooled) * sum(1 / size for size in sizes))
    chance = math.erfc(lead / error / math.sqrt(2)) / 2
    rule = f"two shares of {min(sizes):.0f} held-out examples, p = {_rounded(chance)}"
    return Verdict(chance < SURE, chance, rule)


def _rounded(chance: float) -> str:
    return f"{chance:.2g}" if chance >= 0.0001 else "0.0001 or less"
