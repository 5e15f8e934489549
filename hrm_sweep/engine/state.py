"""State of a study: its trials as this process knows them, and everything that follows from them.

Nothing here does I/O or looks at a clock. The scheduler writes what it learns; observers read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from hrm_sweep.engine.other_sweeps import Others
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.search.objectives import Objectives


@dataclass(kw_only=True)
class StudyState:
    """What is known of a study while a sweep works on it.

    Each property is computed from `ended`, `in_flight` and the facts beside them.
    """

    name: str
    objectives: Objectives
    num_trials: int
    """Trials that the study has when its queue is empty."""
    num_added: int = 0
    """Finished trials among them that no sweep has run."""
    num_slots: int = 1
    """Trials that run at once."""
    ended: dict[int, TrialProgress] = field(default_factory=dict)
    """Trials whose last attempt has ended, by number, in the order of their ends; those of earlier
    and of other sweeps too. One that waits for another attempt stays until it is started."""
    in_flight: dict[int, TrialProgress] = field(default_factory=dict)
    """Trials that this sweep has submitted to its launcher, by number."""
    num_pending_tells: int = 0
    """Ended trials of which Optuna has no result yet."""
    database_error: str = ""
    """Why the study's database does not answer; "" while it does."""
    is_closed: bool = False
    """No further trial is started: the time limit has passed, or the user stopped the study."""
    is_stopping: bool = False
    """Running trials are asked to end at their next report."""
    is_out_of_patience: bool = False
    """No further trial is started: the last ones have brought no new best."""
    is_abandoned: bool = False
    """The sweep gave up waiting for the study's database."""
    others: Others = field(default_factory=Counter)
    """Trials that other sweeps run; known at the end."""
    _front: list[TrialProgress] = field(default_factory=list, repr=False)
    _compared: set[int] = field(default_factory=set, repr=False)
    """Numbers of the complete trials that `_front` is made from."""
    _first_ends: dict[tuple[float, ...], tuple[int, int]] = field(default_factory=dict, repr=False)
    """When the first of them that breaks no constraint ended, by the values of its objectives."""

    def outcomes(self) -> dict[Outcome, int]:
        """Return how many trials ended with each outcome, in the order of `Outcome`."""
        counts = Counter(trial.outcome for trial in self.ended.values())
        return {outcome: counts[outcome] for outcome in Outcome if counts[outcome]}

    @property
    def num_failed(self) -> int:
        """Ended trials that count for `study.max_failure_rate`."""
        counts = self.outcomes().items()
        return sum(number for outcome, number in counts if outcome.is_failure)

    @property
    def num_to_do(self) -> int:
        """Trials that sweeps are to run, those that have ended included."""
        return self.num_trials - self.num_added

    @property
    def num_done(self) -> int:
        """Trials that have ended for good."""
        return sum(not trial.goes_back for trial in self.ended.values())

    @property
    def num_left(self) -> int:
        """Trials that have not ended for good, as far as this sweep knows."""
        return max(0, self.num_to_do - self.num_done)

    @property
    def is_stopped(self) -> bool:
        """Whether the sweep ended before the study did, or interrupted one of its trials.

        One that is out of patience has done what it was asked for.
        """
        is_cut = self.is_closed and self.num_left > 0 and not self.is_out_of_patience
        return self.is_abandoned or is_cut or Outcome.INTERRUPTED in self.outcomes()

    @property
    def outcome(self) -> Outcome:
        """Outcome of the study as a whole, once the sweep has ended."""
        if self.is_stopped:
            return Outcome.INTERRUPTED
        return Outcome.COMPLETE if self.front else Outcome.FAILED

    @property
    def is_left_to_others(self) -> bool:
        """Whether other sweeps run what is left, once this one has ended."""
        return self.num_left > 0 and not self.is_closed and not self.is_stopped

    @property
    def has_result(self) -> bool:
        """Whether there is a best trial, or the lack of one is no failure.

        It is none if other sweeps run what is left, or if no task returned an objective at all.
        """
        is_unjudged = set(self.outcomes()) == {Outcome.UNJUDGED}
        return bool(self.front) or is_unjudged or self.is_left_to_others

    @property
    def running(self) -> list[TrialProgress]:
        """Trials in flight that a worker has begun."""
        return [trial for trial in self.in_flight.values() if trial.has_begun]

    @property
    def complete(self) -> list[TrialProgress]:
        """Complete trials by number."""
        return by_number(trial for trial in self.ended.values() if _is_complete(trial))

    @property
    def front(self) -> list[TrialProgress]:
        """Best trials: one, or the Pareto front of several objectives.

        None of them breaks a constraint. Of equal trials with one objective, the one with the lower
        number is the best.

        A complete trial stays complete and keeps its place in `ended`, so each is compared with the
        front once: doing all of them again after each end would take quadratic time.
        """
        for trial in self._not_compared():
            self._compared.add(trial.number)
            if not self.objectives.broken(trial.values):
                first = self._first_ends.setdefault(self._point(trial), _end(trial))
                self._first_ends[self._point(trial)] = min(first, _end(trial))
            candidates = by_number([*self._front, trial])
            joined = self.objectives.front(candidates, final_values)
            self._front = self.objectives.ranked(joined, final_values)
        return self._front

    def _point(self, trial: TrialProgress) -> tuple[float, ...]:
        return tuple(self.objectives.values_of(trial.values))

    def _not_compared(self) -> list[TrialProgress]:
        """Return the complete trials that ended after the last one that was compared."""
        found = []
        for trial in reversed(self.ended.values()):
            if trial.number in self._compared:
                break
            if _is_complete(trial):
                found.append(trial)
        return found

    @property
    def best(self) -> TrialProgress | None:
        """The one best trial; None if there is none, or a front of several."""
        return self.front[0] if len(self.front) == 1 else None

    @property
    def num_since_best(self) -> int:
        """Number of trials that ended, complete or pruned, after the last new best one.

        With several objectives, after the last one that has changed the front. A trial that equals
        another in its objectives is no new best, whichever the tie breaker prefers.
        """
        last = max((self._first_ends[self._point(best)] for best in self.front), default=(0, -1))
        judged = (Outcome.COMPLETE, Outcome.PRUNED)
        return sum(each.outcome in judged and _end(each) > last for each in self.ended.values())

    def ranked(self) -> list[TrialProgress]:
        """Return the complete trials, the best first."""
        return self.objectives.ranked(self.complete, final_values)

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time to the end of the study; None before a trial is complete."""
        took = [trial.seconds for trial in self.ended.values() if _is_complete(trial)]
        if not took:
            return None
        mean = sum(took) / len(took)
        running = [
            mean if trial.seconds_left is None else trial.seconds_left for trial in self.running
        ]
        waiting = self.num_left - len(running)
        return max([*running, (sum(running) + waiting * mean) / self.num_slots])


def final_values(trial: TrialProgress) -> dict[str, float]:
    """Return the values that a complete trial is judged by."""
    return trial.values


def by_number(trials: Iterable[TrialProgress]) -> list[TrialProgress]:
    """Return the trials in the order of their numbers."""
    return sorted(trials, key=lambda trial: trial.number)


def _end(trial: TrialProgress) -> tuple[int, int]:
    return trial.ended_ms, trial.number


def _is_complete(trial: TrialProgress) -> bool:
    return trial.outcome is Outcome.COMPLETE
