"""The sampler that `auto` chooses, and the reason it gives."""

import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.samplers import CmaEsSampler

from hrm_sweep.errors import StudyError
from hrm_sweep.search.objectives import parse_objectives
from hrm_sweep.search.parsing import parse_space
from hrm_sweep.search.samplers import Auto, choose_sampler

NUMBERS = ("a=interval(0, 1)", "b=int(interval(1, 9))")


@pytest.mark.parametrize(
    ("overrides", "objectives", "num_trials", "told"),
    [
        pytest.param(NUMBERS, 1, 20, "GPSampler (auto: numbers only, 20 trials are few)", id="few"),
        pytest.param(NUMBERS, 2, 20, "GPSampler", id="few, two objectives"),
        pytest.param(
            [*NUMBERS, "c=x,y"], 1, 20, "TPESampler (auto: c has no order)", id="with a choice"
        ),
        pytest.param(NUMBERS, 1, 500, "TPESampler (auto: 500 trials are too many", id="more"),
        pytest.param(NUMBERS, 1, 2000, "CmaEsSampler (auto: numbers only, 2000", id="many"),
        pytest.param(NUMBERS, 2, 2000, "NSGAIISampler (auto: several objectives", id="both many"),
    ],
)
def test_auto_says_what_it_chose_and_why(overrides, objectives, num_trials, told):
    space = parse_space(OverridesParser.create().parse_overrides(list(overrides)))
    asked = parse_objectives(["p", "q"][:objectives], ["minimize"] * objectives)
    sampler, words = choose_sampler(Auto(seed=1), space, asked, num_trials=num_trials)
    assert words.startswith(told)
    assert type(sampler).__name__ == words.split()[0]


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cmaes", None)  # what an import of it meets, then
    space = parse_space(OverridesParser.create().parse_overrides(list(NUMBERS)))
    with pytest.raises(StudyError) as caught:
        choose_sampler(CmaEsSampler(), space, parse_objectives("p", "minimize"), num_trials=9)
    assert str(caught.value) == (
        "hydra/sweeper/sampler: CmaEsSampler needs the package cmaes, which is not installed; "
        "pip install cmaes, or take hydra/sweeper/sampler=tpe"
    )


def test_auto_takes_no_sampler_whose_package_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    space = parse_space(OverridesParser.create().parse_overrides(list(NUMBERS)))
    objectives = parse_objectives("p", "minimize")
    sampler, words = choose_sampler(Auto(), space, objectives, num_trials=20)
    assert type(sampler).__name__ == "TPESampler"
    assert words == ("TPESampler (auto: GPSampler needs the package torch, which is not installed)")
