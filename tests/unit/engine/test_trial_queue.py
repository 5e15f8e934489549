"""The plan on a real database: a grid that grows, trials of a sweep that died."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hrm_sweep.engine.attributes import OWNER
from hrm_sweep.engine.trial_queue import TrialQueue
from hrm_sweep.search.space import parse_space
from hrm_sweep.storage.leases import Lease
from hrm_sweep.storage.optuna_storage import SharedStorage


@pytest.mark.parametrize(
    ("before", "after", "values", "distribution"),
    [
        pytest.param("a,b", "a,b,c", ["a", "b", "c"], "Categorical", id="words"),
        pytest.param("b,a", "a,b,c", ["b", "a", "c"], "Categorical", id="words in another order"),
        pytest.param(
            "true,false", "true,false,null", [True, False, None], "Categorical", id="null"
        ),
        pytest.param("2,1", "1,2,3", [2, 1, 3], "Int", id="numbers"),
        pytest.param("1,2", "1,2,100", [1, 2, 100], "Int", id="numbers, now on a log scale"),
        pytest.param("1,2", "1,2,0.5", [1, 2, 0.5], "Float", id="whole numbers, then a fraction"),
        pytest.param("1,2", "1,2,few", [1, 2, "few"], "Categorical", id="numbers, then a word"),
        pytest.param("1,0.5", "1,0.5", [1, 0.5], "Float", id="nothing new"),
    ],
)
def test_a_grid_may_grow(tmp_path, before, after, values, distribution):
    ledger = SharedStorage(f"sqlite:///{tmp_path}/optuna.db")
    study = ledger.open_study("study", ["minimize"])
    other = ledger.open_study("other", ["minimize"])
    parser = OverridesParser.create()
    for text in (before, after):
        space = parse_space(parser.parse_overrides([f"x={text}", "y=3"]))
        plan = TrialQueue(ledger, study, space, num_trials=0)
        TrialQueue(ledger, other, parse_space(parser.parse_overrides(["x=p,q"])), num_trials=0)
    trials = study.get_trials()
    assert plan.num_trials == len(values)
    assert [trial.params for trial in trials] == [{"x": value} for value in values]
    assert len({repr(trial.distributions) for trial in trials}) == 1
    assert type(trials[0].distributions["x"]).__name__ == f"{distribution}Distribution"
    assert [trial.params["x"] for trial in other.get_trials()] == ["p", "q"]
    texts = [space.overrides(trial.params)[0] for trial in trials]
    assert sorted(map(str.lower, texts)) == sorted(f"x={value}" for value in after.split(","))


def test_a_trial_is_taken_over_when_its_owner_has_gone_wherever_that_ran(tmp_path):
    ledger = SharedStorage(f"sqlite:///{tmp_path}/optuna.db")
    study = ledger.open_study("study", ["minimize"])
    plan = TrialQueue(
        ledger,
        study,
        parse_space(OverridesParser.create().parse_overrides(["x=1,2"])),
        num_trials=0,
    )
    here, there = Lease(tmp_path / "here"), Lease(tmp_path / "there")
    trial = plan.next()
    ledger.note(trial, {OWNER: there.told})
    assert plan.recover(here.told) == []
    there.release()
    (taken,) = plan.recover(here.told)
    assert taken.number == trial.number
    assert plan.recover(here.told) == []
    assert study.get_trials()[0].user_attrs[OWNER] == here.told
    here.release()
