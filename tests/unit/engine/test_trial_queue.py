"""The trial queue on a real database: grids that grow, searches, trials that others have added."""

import os
import subprocess
import sys

import pytest
from fakes import exclusive, open_in, space_of
from optuna.trial import TrialState, create_trial
from paths import ROOT, TESTS

from hrm_sweep.engine.attributes import FOLDER, OWNER
from hrm_sweep.engine.open_study import OpenStudy
from hrm_sweep.engine.trial_queue import TrialQueue, num_to_run
from hrm_sweep.search.budget import Budget
from hrm_sweep.storage.leases import Lease


def params_in_order(opened: OpenStudy) -> list[dict]:
    """The parameters of all trials that the queue gives, until it is empty."""
    taken = []
    with exclusive(opened):
        while (trial := opened.queue.next()) is not None:
            taken.append(trial.params)
    return taken


def test_a_grid_comes_in_hydras_order_and_trial_numbers_are_its_places(tmp_path):
    opened = open_in(tmp_path, "a=1,2", "b=p,q")
    expected = [{"a": a, "b": b} for a in (1, 2) for b in ("p", "q")]
    assert opened.queue.num_trials == 4
    assert params_in_order(opened) == expected
    assert [trial.params for trial in opened.study.get_trials()] == expected


def test_a_search_ends_at_its_total_and_counts_what_is_there(tmp_path):
    opened = open_in(tmp_path, "x=interval(0,1)", n_trials=3)
    assert len(params_in_order(opened)) == 3
    longer = open_in(tmp_path, "x=interval(0,1)", n_trials=5)
    known = longer.study.get_trials()
    assert num_to_run(Budget(longer.space, 5), known) == 3 + 2  # three run still
    assert len(params_in_order(longer)) == 2


def test_what_is_put_back_comes_first(tmp_path):
    opened = open_in(tmp_path, "x=1,2,3")
    with exclusive(opened):
        first, _ = opened.queue.next(), opened.queue.next()
        opened.queue.put_back(first)
        assert [opened.queue.next().number for _ in range(2)] == [0, 2]
        assert opened.queue.next() is None


def test_of_two_queues_on_one_study_each_trial_goes_to_one(tmp_path):
    one, other = open_in(tmp_path, "x=1,2,3,4,5"), open_in(tmp_path, "x=1,2,3,4,5")
    taken = []
    for opened in [one, other, other, one, one, other]:
        with exclusive(opened):
            trial = opened.queue.next()
        taken.append(trial.number if trial else None)
    assert taken == [0, 1, 2, 3, 4, None]


def test_a_trial_enqueued_with_optuna_gets_its_other_parameters_from_the_sampler(tmp_path):
    opened = open_in(tmp_path, "x=interval(0,1)", "y=interval(5,6)", n_trials=1)
    opened.study.enqueue_trial({"x": 0.25})
    (params,) = params_in_order(opened)
    assert params["x"] == 0.25
    assert 5 <= params["y"] <= 6


HASH_SEEDS = """
from pathlib import Path
from fakes import exclusive, open_in
from optuna.samplers import RandomSampler
opened = open_in(Path("."), *(f"{name}=interval(0,1)" for name in "abcdef"), n_trials=1)
opened.study.sampler = RandomSampler(seed=0)
opened.study.enqueue_trial({"c": 0.25})
with exclusive(opened):
    print(opened.queue.next().params)
"""


def test_equal_seeds_complete_an_enqueued_trial_equally_in_any_process(tmp_path):
    printed = set()
    for seed in "12345":
        folder = tmp_path / seed
        folder.mkdir()
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": f"{TESTS}:{ROOT}"}
        command = [sys.executable, "-c", HASH_SEEDS]
        printed.add(subprocess.check_output(command, cwd=folder, env=environment, text=True))
    assert len(printed) == 1


def test_an_added_value_that_the_space_does_not_have_fails_its_trial(tmp_path):
    opened = open_in(tmp_path, "x=interval(0,1)", "y=choice(a,b)", n_trials=2)
    opened.study.enqueue_trial({"y": "c"})
    assert len(params_in_order(opened)) == 1
    failed = opened.study.get_trials()[0]
    assert failed.state is TrialState.FAIL
    assert "c" in failed.user_attrs["reason"]


def test_finished_trials_that_no_sweep_has_run_are_counted(tmp_path):
    opened = open_in(tmp_path, "x=1,2")
    opened.study.add_trial(create_trial(value=3.0))
    with exclusive(opened):
        trial = opened.queue.next()
    opened.storage.set_user_attrs(trial, {FOLDER: "somewhere"})
    opened.study.tell(trial, 1.0)
    assert opened.queue.num_added() == 1


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
    opened = open_in(tmp_path, f"x={before}", "y=3")
    storage, study = opened.storage, opened.study
    other = storage.open_study("other", ["minimize"])
    TrialQueue(storage, other, Budget(space_of("x=p,q"), None))
    space = space_of(f"x={after}", "y=3")
    queue = TrialQueue(storage, study, Budget(space, None))
    trials = study.get_trials()
    assert queue.num_trials == len(values)
    assert [trial.params for trial in trials] == [{"x": value} for value in values]
    assert len({repr(trial.distributions) for trial in trials}) == 1
    assert type(trials[0].distributions["x"]).__name__ == f"{distribution}Distribution"
    assert [trial.params["x"] for trial in other.get_trials()] == ["p", "q"]
    texts = [space.overrides(trial.params)[0] for trial in trials]
    assert sorted(map(str.lower, texts)) == sorted(f"x={value}" for value in after.split(","))


def test_a_trial_is_taken_over_when_its_owner_has_gone_wherever_that_ran(tmp_path):
    opened = open_in(tmp_path, "x=1,2")
    storage, queue = opened.storage, opened.queue
    here, there = Lease(tmp_path / "here"), Lease(tmp_path / "there")
    trial = queue.next()
    storage.set_user_attrs(trial, {OWNER: there.fields})
    assert queue.recover(here.fields) == []
    there.release()
    (taken,) = queue.recover(here.fields)
    assert taken.number == trial.number
    assert queue.recover(here.fields) == []
    assert [each.number for each in queue.running_of(here.fields)] == [0]
    assert opened.study.get_trials()[0].user_attrs[OWNER] == here.fields
    here.release()


def test_a_trial_that_runs_by_optunas_own_means_is_left_alone(tmp_path):
    opened = open_in(tmp_path, "x=interval(0,1)")
    opened.study.ask(opened.space.distributions)
    assert opened.queue.recover(opened.lease.fields) == []


def test_trials_of_another_machine_are_taken_if_the_user_names_it(tmp_path):
    opened = open_in(tmp_path, "x=1,2")
    far = {"host": "node7", "boot": "b", "lock": "/nowhere/.node7-1-aaaaaaaa.lock"}
    opened.storage.set_user_attrs(opened.queue.next(), {OWNER: far})
    assert opened.queue.recover(opened.lease.fields) == []
    assert opened.queue.recover(opened.lease.fields, take_from="node8") == []
    (taken,) = opened.queue.recover(opened.lease.fields, take_from="node7")
    assert taken.number == 0
