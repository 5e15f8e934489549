"""A number of trials that is asked for on a finite space: a search of so many different points."""

from pathlib import Path

import optuna
import pytest
from studies import study, sweep

SPACE = ("+x=range(0,11)", "+k=70,80,90", "+w=a,b")  # 66 points
INNER = "{_target_: optuna.samplers.RandomSampler, seed: 1}"

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def points() -> list[tuple]:
    return [tuple(trial.params[name] for name in "xkw") for trial in study().get_trials()]


def searched(*overrides: str, space: tuple[str, ...] = SPACE) -> str:
    done = sweep(*space, "hydra.sweeper.seed=1", "hydra.launcher.workers=1", *overrides)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "sampler",
    [
        pytest.param("", id="none, so TPE"),
        pytest.param("optuna.samplers.RandomSampler", id="random"),
        pytest.param("optuna.samplers.QMCSampler", id="QMC"),
        pytest.param("optuna.samplers.CmaEsSampler", id="CMA-ES"),
        pytest.param("optuna.samplers.NSGAIISampler,population_size: 5", id="NSGA-II"),
        pytest.param("optuna.samplers.BruteForceSampler", id="brute force"),
        pytest.param(
            "optuna.samplers.GridSampler,search_space: "
            "{x: [0, 1, 2, 3], k: [70, 80, 90], w: [a, b]}",
            id="a part of the grid",
        ),
        pytest.param(
            f"optuna.samplers.PartialFixedSampler,fixed_params: {{w: b}},base_sampler: {INNER}",
            id="without a seed",
        ),
    ],
)
def test_so_many_different_points_are_run(sampler):
    chosen = [f"+hydra.sweeper.sampler={{_target_: {sampler}}}"] if sampler else []
    told = searched("hydra.sweeper.n_trials=20", *chosen)
    name = sampler.split(",")[0].rpartition(".")[2] or "TPESampler"
    assert f"Search of 20 of 66 points, proposed by {name}" in told
    assert "20 complete" in told
    found = points()
    assert len(set(found)) == len(found) == 20
    assert all(x in range(11) and k in (70, 80, 90) and w in "ab" for x, k, w in found)


def test_no_point_comes_twice_until_all_are_run_and_the_total_may_grow():
    small = ("+x=0,1,2,5", "+k=70,80", "+w=a,b")
    searched("hydra.sweeper.n_trials=10", space=small)
    first = points()
    assert "Search of 15 of 16 points" in searched("hydra.sweeper.n_trials=15", space=small)
    assert points()[:10] == first
    assert len(set(points())) == 15
    told = searched("hydra.sweeper.n_trials=40", space=small)
    assert "Grid of 16, every point once" in told
    assert "n_trials=40 is more than there are points: each is run once" in told
    assert len(set(points())) == len(points()) == 16
    more = ("+x=0,1,2,5,8", "+k=70,80", "+w=a,b")
    searched("hydra.sweeper.n_trials=18", space=more)
    assert len(set(points())) == len(points()) == 18


def test_a_sampler_that_has_nothing_to_propose_is_named():
    random = "hydra.sweeper.sampler={_target_:optuna.samplers.RandomSampler}"
    told = searched(random, space=("+x=0,1", "+k=70"))
    assert "RandomSampler is not asked: every point is run; n_trials below 2 makes" in told
    assert "is not asked" not in searched(space=("+x=0,1,2", "+k=70"))


def test_the_dry_run_says_what_will_be_run():
    told = searched("hydra.sweeper.n_trials=20", "hydra.sweeper.dry_run=true")
    assert "A search of 20 of 66 points" in told
    assert "0 done, 20 to run" in told
    assert not Path("multirun/study").exists()


def test_equal_seeds_search_equally_and_a_seed_of_the_sampler_is_kept():
    random = "_target_: optuna.samplers.RandomSampler"
    searched("hydra.sweeper.n_trials=6", f"+hydra.sweeper.sampler={{{random}, seed: 5}}")
    first = points()
    other = ("hydra.sweeper.study_name=other", "hydra.sweep.dir=multirun/other")
    searched("hydra.sweeper.n_trials=6", f"hydra.sweeper.sampler={{{random}}}",
             "hydra.sweeper.seed=5", *other)  # fmt: skip
    trials = optuna.load_study(
        study_name="other", storage="sqlite:///multirun/optuna.db"
    ).get_trials()
    assert [tuple(each.params[name] for name in "xkw") for each in trials] == first


def test_a_trial_that_lacks_a_value_gets_one_of_the_grid():
    space = ("+x=1,2", "+k=70,90", "+w=a,b")
    searched(space=space)
    study().enqueue_trial({"x": 1})
    searched(space=space)
    x, k, w = points()[8]
    assert x == 1
    assert k in (70, 90)
    assert w in "ab"


@pytest.mark.parametrize(
    ("sampler", "space", "reason"),
    [
        pytest.param(
            "optuna.samplers.BruteForceSampler", "+x=interval(0,1)", "+x has an interval",
            id="brute force on an interval",
        ),
        pytest.param(
            "optuna.samplers.GridSampler,search_space: {y: [1]}", "+x=interval(0,1)",
            "x, is not found in the given grid", id="a grid without a parameter",
        ),
    ],
)  # fmt: skip
def test_a_sampler_that_cannot_propose_is_refused_before_the_first_trial(sampler, space, reason):
    done = sweep(space, f"+hydra.sweeper.sampler={{_target_: {sampler}}}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("hydra/sweeper/sampler: ")
    assert reason in line
    assert not Path("multirun/study").exists()


@pytest.mark.parametrize("number", ["0", "-3"])
def test_a_number_below_one_is_refused(number):
    done = sweep(*SPACE, f"hydra.sweeper.n_trials={number}")
    assert (done.returncode, done.stderr) == (
        2,
        f"hydra.sweeper.n_trials={number}: must be 1 or more, or null\n",
    )
