"""Which of two trials is better, and what a config may ask for."""

import math
from enum import Enum

import pytest

from hrm_sweep.errors import StudyError
from hrm_sweep.search.objectives import parse_objectives


def same(values):
    return values


def test_of_one_objective_the_first_of_the_best_is_the_front():
    trials = [{"a": 1.0}, {"a": 3.0}, {"a": 3.0}, {"a": 2.0}]
    asked = parse_objectives("a", "maximize")
    assert asked.front(trials, same) == [{"a": 3.0}]
    assert asked.front(trials, same)[0] is trials[1]
    assert [trial["a"] for trial in asked.ranked(trials, same)] == [3, 3, 2, 1]


def test_of_equal_trials_the_one_with_the_lower_tie_breaker_is_better():
    trials = [{"a": 1.0, "loss": 0.5}, {"a": 1.0, "loss": 0.2}, {"a": 1.0, "loss": 0.2}]
    asked = parse_objectives("a", "maximize", tie_breaker="loss")
    assert asked.front(trials, same)[0] is trials[1]


def test_the_pareto_front_is_what_brute_force_says():
    asked = parse_objectives(["a", "b"], ["maximize", "minimize"])
    trials = [{"a": float(n * 7 % 11), "b": float(n * 5 % 13)} for n in range(40)]

    def is_bettered(trial):
        return any(
            other["a"] >= trial["a"] and other["b"] <= trial["b"] and other != trial
            for other in trials
        )

    expected = [trial for trial in trials if not is_bettered(trial)]
    assert sorted(map(str, asked.front(trials, same))) == sorted(map(str, expected))
    assert asked.ranked(trials, same)[: len(expected)] == sorted(expected, key=lambda t: -t["a"])


def test_a_trial_that_breaks_a_constraint_is_never_the_best():
    asked = parse_objectives("a", "minimize", {"seconds": "<= 10", "share": ">= 0.5"})
    best = {"a": 0.0, "seconds": 11.0, "share": 0.9}
    good = {"a": 5.0, "seconds": 10.0, "share": 0.5}
    worst = {"a": 0.0, "seconds": 30.0, "share": 0.1}
    assert asked.front([best, good, worst], same) == [good]
    assert asked.ranked([worst, best, good], same) == [good, best, worst]
    assert [str(each) for each in asked.broken(worst)] == ["seconds <= 10", "share >= 0.5"]
    assert asked.front([best, worst], same) == []
    assert [each.excess(best) for each in asked.constraints] == [1, pytest.approx(-0.4)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param((["a", "b"], "maximize"), "2 objectives need a direction each", id="one way"),
        pytest.param(
            ("a", "up"), "hydra.sweeper.direction=up: must be maximize or minimize", id="up"
        ),
        pytest.param((["a", "a"], ["minimize"] * 2), "name each objective once", id="twice"),
        pytest.param(
            ("a", "minimize", {"b": "< 10"}),
            "hydra.sweeper.constraints.b=< 10: must be <= or >= and a number",
            id="strictly less",
        ),
        pytest.param(("a", "minimize", {"b": "<= ten"}), "and a number", id="no number"),
    ],
)
def test_what_cannot_be_a_goal_is_named(arguments, words):
    with pytest.raises(StudyError) as caught:
        parse_objectives(*arguments)
    assert words in str(caught.value)


def test_infinity_is_a_value_like_another():
    assert parse_objectives("a", "minimize").front([{"a": math.inf}, {"a": 1.0}], same) == [
        {"a": 1.0}
    ]


class Direction(Enum):
    minimize = 1
    maximize = 2


def test_objectives_without_names_are_numbered():
    asked = parse_objectives("objective", ["minimize", "maximize"])
    assert asked.names == ("objective_0", "objective_1")
    assert asked.directions == ("minimize", "maximize")


@pytest.mark.parametrize("way", [Direction.maximize, "Direction.maximize", "MAXIMIZE"])
def test_a_direction_may_be_a_member_of_an_enumeration(way):
    assert parse_objectives("a", way).directions == ("maximize",)
    assert parse_objectives(["a", "b"], [way, "minimize"]).directions == ("maximize", "minimize")
