"""What a study is after: its objectives, what they must keep to, and which of two trials is better.

With one objective the better trials form a line, and the best one is its head. With several a trial
is better only if it is worse in none; the trials that no other betters are the Pareto front.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from hrm_sweep.errors import StudyError

UNNAMED = "objective"
"""Objective of a study that names none: what the task returns."""
Values = Mapping[str, float]
T = TypeVar("T")

_LARGER_IS_BETTER = re.compile(
    r"(?<![a-z])(acc|accuracy|auc|auroc|f1|iou|miou|map|precision|recall|r2|psnr|bleu|rouge)(?![a-z])"
    r"|accuracy|exact_match|reward"
)
"""Names of metrics that everybody maximizes."""
_RULE = re.compile(r"\s*(<=|>=)\s*(\S+)\s*")


@dataclass(frozen=True)
class Constraint:
    """A value that a trial is to keep below or above a bound."""

    name: str
    rule: str
    """`<= 10` or `>= 0.9`."""
    sign: int
    bound: float

    def excess(self, values: Values) -> float:
        """How far the value is on the wrong side; 0 or less if it keeps to the bound."""
        return self.sign * (values[self.name] - self.bound)

    def __str__(self) -> str:
        return f"{self.name} {self.rule}"


@dataclass(frozen=True)
class Objectives:
    """How the trials of a study are judged."""

    names: tuple[str, ...]
    directions: tuple[str, ...]
    constraints: tuple[Constraint, ...] = ()
    tie_breaker: str | None = None
    """Name of a value that is lower for the better of two trials with one equal objective."""

    @property
    def required(self) -> list[str]:
        """Values that a complete trial has."""
        return [*self.names, *(constraint.name for constraint in self.constraints)]

    @property
    def maximized(self) -> list[str]:
        """Objectives of which the larger value is the better one."""
        pairs = zip(self.names, self.directions, strict=True)
        return [name for name, direction in pairs if direction == "maximize"]

    @property
    def is_multi_objective(self) -> bool:
        """Whether there are several objectives."""
        return len(self.names) > 1

    def values_of(self, values: Values) -> list[float]:
        """Return the values that Optuna gets."""
        return [values[name] for name in self.names]

    def broken(self, values: Values) -> list[Constraint]:
        """Return the constraints that a complete trial violates."""
        return [constraint for constraint in self.constraints if constraint.excess(values) > 0]

    def betters(self, one: Values, other: Values) -> bool:
        """Return whether one trial is better than another.

        Of two that violate constraints, the one with the smaller violation is better.
        """
        excess, others = self._excess(one), self._excess(other)
        if excess or others:
            return excess < others
        mine, theirs = self._costs(one), self._costs(other)
        if mine == theirs and not self.is_multi_objective and self.tie_breaker:
            return one.get(self.tie_breaker, 0.0) < other.get(self.tie_breaker, 0.0)
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))

    def front(self, trials: Iterable[T], values: Callable[[T], Values]) -> list[T]:
        """Return the trials that no other betters and that violate no constraint.

        With one objective that is the first of the best.
        """
        found: list[T] = []
        for trial in trials:
            found = self._joined(found, trial, values)
        return found

    def _joined(self, front: list[T], trial: T, values: Callable[[T], Values]) -> list[T]:
        """Return the front with one more trial beside or instead of those in it."""
        new = values(trial)
        if self.broken(new) or any(not self._is_room(values(known), new) for known in front):
            return front
        return [known for known in front if not self.betters(new, values(known))] + [trial]

    def ranked(self, trials: Iterable[T], values: Callable[[T], Values]) -> list[T]:
        """Return the front, then others by objectives, then those that violate constraints."""
        several = list(trials)
        front = {id(trial) for trial in self.front(several, values)}

        def rank(trial: T) -> tuple[Any, ...]:
            known = values(trial)
            tie = known.get(self.tie_breaker, 0.0) if self.tie_breaker else 0.0
            return id(trial) not in front, self._excess(known), self._costs(known), tie

        return sorted(several, key=rank)

    def _is_room(self, known: Values, new: Values) -> bool:
        if self.is_multi_objective:
            return not self.betters(known, new)
        return self.betters(new, known)

    def _costs(self, values: Values) -> list[float]:
        pairs = zip(self.names, self.directions, strict=True)
        return [-values[name] if way == "maximize" else values[name] for name, way in pairs]

    def _excess(self, values: Values) -> float:
        return sum(constraint.excess(values) for constraint in self.broken(values))


def parse_objectives(
    objective: str | Sequence[str],
    direction: str | Sequence[str] | None,
    constraints: Mapping[str, str] | None = None,
    *,
    tie_breaker: str | None = None,
) -> Objectives:
    """Return the objectives as they stand in a config.

    Args:
        objective: where it is `UNNAMED` and there are several directions, a task returns as many
            numbers, which get the names objective_0, objective_1, ….
        direction: maximize or minimize, also as a member of an enumeration, or a list of these.
            None: maximize what is named like an accuracy, minimize any other.

    Raises:
        StudyError: they do not fit together, or a constraint cannot be read.
    """
    objectives = _listed(objective)
    directions = tuple(map(_assumed, objectives))
    if direction is not None:
        directions = tuple(way.rpartition(".")[2].lower() for way in _listed(direction))
    if objective == UNNAMED and len(directions) > 1:
        objectives = tuple(f"{UNNAMED}_{number}" for number in range(len(directions)))
    if len(objectives) != len(directions) or not objectives:
        raise StudyError(
            f"hydra.sweeper.direction={','.join(directions)}: {len(objectives)} objectives need a "
            "direction each; such as hydra.sweeper.objective=[a,b] "
            "hydra.sweeper.direction=[maximize,minimize]"
        )
    for way in directions:
        if way not in ("maximize", "minimize"):
            raise StudyError(f"hydra.sweeper.direction={way}: must be maximize or minimize")
    if len(set(objectives)) < len(objectives):
        raise StudyError(
            f"hydra.sweeper.objective={','.join(objectives)}: name each objective once"
        )
    if not isinstance(constraints or {}, Mapping):
        raise StudyError(
            f"hydra.sweeper.constraints={constraints}: must name metrics and their bounds; "
            "such as 'hydra.sweeper.constraints={eval/segments: \"<= 2\"}'"
        )
    rules = tuple(_constraint(name, rule) for name, rule in (constraints or {}).items())
    return Objectives(objectives, directions, rules, tie_breaker)


def _assumed(name: str) -> str:
    return "maximize" if _LARGER_IS_BETTER.search(name.lower()) else "minimize"


def _listed(value: str | Sequence[str]) -> tuple[str, ...]:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    values = value if is_list else [value]
    return tuple(each.name if isinstance(each, Enum) else str(each) for each in values)


def _constraint(name: str, rule: str) -> Constraint:
    match = _RULE.fullmatch(str(rule))
    try:
        sign, bound = {"<=": 1, ">=": -1}[match[1]], float(match[2])  # type: ignore[index]
    except (TypeError, ValueError):
        raise StudyError(
            f"hydra.sweeper.constraints.{name}={rule}: must be <= or >= and a number; "
            f"such as 'hydra.sweeper.constraints={{{name}: \"<= 10\"}}'"
        ) from None
    return Constraint(name, " ".join(str(rule).split()), sign, bound)
