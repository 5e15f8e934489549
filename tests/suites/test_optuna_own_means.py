"""Trials that somebody puts into a study by Optuna's own means."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from studies import study, sweep

SEARCH = ("+x=interval(0,4)", "+y=a,b")

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def params() -> list[dict]:
    return [trial.params for trial in study().get_trials()]


@pytest.mark.parametrize(
    "fixed",
    [
        pytest.param({"x": 2.0, "y": "b"}, id="all of its parameters"),
        pytest.param({"x": 2.0}, id="some of them"),
        pytest.param({}, id="none of them"),
    ],
)
def test_an_enqueued_trial_is_run_and_what_it_lacks_is_proposed(fixed):
    assert sweep(*SEARCH, "hydra.sweeper.n_trials=2").returncode == 0
    study().enqueue_trial(fixed)
    done = sweep(*SEARCH, "hydra.sweeper.n_trials=4")
    assert done.returncode == 0, done.stderr
    assert "4 complete" in done.stdout
    assert params()[2].keys() == {"x", "y"}
    assert fixed.items() <= params()[2].items()


def test_an_enqueued_point_of_a_grid_is_run_beside_the_others():
    assert sweep("+x=1,3", "+y=a,b").returncode == 0
    study().enqueue_trial({"x": 2, "y": "a"})
    study().enqueue_trial({"x": 2, "y": "c"})
    done = sweep("+x=1,3", "+y=a,b")
    assert done.returncode == 0, done.stderr
    assert "5 complete" in done.stdout
    assert params()[4] == {"x": 2, "y": "a"}
    unknown = study().get_trials()[5]
    assert unknown.state is TrialState.FAIL
    assert unknown.user_attrs["reason"].startswith("'c' not in (")
    done = sweep("+x=1,3", "+y=a,b")
    assert done.returncode == 0, done.stderr
    assert "1 trial in Optuna not run by a sweep: left out here" in done.stdout


def test_a_trial_added_with_its_value_is_for_the_sampler():
    assert sweep("+x=interval(0,4)", "hydra.sweeper.n_trials=2").returncode == 0
    space = {"x": FloatDistribution(0, 4)}
    study().add_trial(create_trial(params={"x": 2.0}, distributions=space, value=-1.0))
    done = sweep("+x=interval(0,4)", "hydra.sweeper.n_trials=4")
    assert done.returncode == 0, done.stderr
    assert "1 trial in Optuna not run by a sweep: left out here" in done.stdout
    assert "3 complete" in done.stdout
    assert [trial.state.name for trial in study().get_trials()] == ["COMPLETE"] * 4


def test_a_trial_that_somebody_else_asked_for_is_left_to_them():
    assert sweep(*SEARCH, "hydra.sweeper.n_trials=2").returncode == 0
    study().ask()
    done = sweep(*SEARCH, "hydra.sweeper.n_trials=4")
    assert done.returncode == 0, done.stderr
    states = [trial.state.name for trial in study().get_trials()]
    assert states == ["COMPLETE", "COMPLETE", "RUNNING", "COMPLETE"]
    assert "Another sweep" not in done.stdout


def test_the_proposals_under_hyperband_are_those_of_optuna():
    settings = "min_resource:1,max_resource:9,reduction_factor:3"
    done = sweep(
        "+x=interval(0,4)",
        "hydra.sweeper.n_trials=14",
        "hydra.sweeper.seed=1",
        "hydra.launcher.workers=1",
        "+hydra.sweeper.sampler.n_startup_trials=2",
        f"hydra.sweeper.pruner={{_target_:optuna.pruners.HyperbandPruner,{settings}}}",
    )
    assert done.returncode == 0, done.stderr

    def objective(trial):
        height = (trial.suggest_float("x", 0, 4) - 2) ** 2
        for step in range(1, 11):
            trial.report(height + 1 / step, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return height

    alone = optuna.create_study(
        study_name="study",  # chooses the brackets
        sampler=optuna.samplers.TPESampler(seed=1, n_startup_trials=2),
        pruner=optuna.pruners.HyperbandPruner(1, 9, 3),
    )
    alone.optimize(objective, n_trials=14)
    assert params() == [trial.params for trial in alone.get_trials()]
