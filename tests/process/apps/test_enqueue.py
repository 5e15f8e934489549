"""Points that the user has run first, in studies."""

import shutil
from pathlib import Path

import pytest
from studies import STUDY, study, sweep

ENQUEUE = "hydra.sweeper.enqueue="
SEARCH = ("+x=interval(0,4)", "+y=a,b")

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def params() -> list[dict]:
    return [trial.params for trial in study().get_trials()]


def test_a_search_begins_with_the_points_and_resuming_adds_none_twice():
    points = f"{ENQUEUE}[{{x:3.5,y:b}},{{+x:1}}]"
    done = sweep(*SEARCH, points, "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stderr
    assert "First come the points of hydra.sweeper.enqueue: 2\n" in done.stdout
    first = params()
    assert len(first) == 3
    assert first[0] == {"x": 3.5, "y": "b"}
    assert first[1]["x"] == 1
    shutil.rmtree(STUDY / "2")
    Path("multirun/optuna.db").unlink()  # the folder knows which trials were enqueued
    again = sweep(*SEARCH, points, "hydra.sweeper.n_trials=4")
    assert again.returncode == 0, again.stderr
    assert params()[:2] == first[:2]
    assert len(params()) == 4
    Path("more.csv").write_text("x,y\n3.5,b\n2.5,\n")
    more = sweep(*SEARCH, f"{ENQUEUE}more.csv", "hydra.sweeper.n_trials=4")
    assert more.returncode == 0, more.stderr
    assert len(params()) == 5
    assert params()[4]["x"] == 2.5


def test_a_grid_begins_with_the_points():
    done = sweep("+x=1,2,3", f"{ENQUEUE}[{{x:3}}]", "hydra.launcher.workers=1")
    assert done.returncode == 0, done.stderr
    assert [point["x"] for point in params()] == [3, 1, 2]


def test_a_point_of_a_grid_goes_before_those_that_have_waited_for_longer():
    grid = ("+x=2,5,6,7,1", "hydra.launcher.workers=1")
    assert sweep(*grid, "hydra.sweeper.patience=1").returncode == 0
    assert study().get_trials()[4].state.name == "WAITING"
    done = sweep(*grid, f"{ENQUEUE}[{{x:1}}]", "hydra.sweeper.patience=2")
    assert done.returncode == 0, done.stderr
    states = [trial.state.name for trial in study().get_trials()]
    assert states == ["COMPLETE", "COMPLETE", "WAITING", "WAITING", "COMPLETE"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        pytest.param("[{x:5}]", "enqueue: point 1: x=5: is not in the search space", id="value"),
        pytest.param("[{x:1,z:5}]", "enqueue: point 1 has z, which is not searched", id="key"),
    ],
)
def test_a_point_outside_of_the_space_is_refused(override, said, tmp_path):
    done = sweep(*SEARCH, f"{ENQUEUE}{override}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"hydra.sweeper.{said}")
    assert list(tmp_path.iterdir()) == []


def test_the_plan_begins_with_the_points():
    plan = sweep(*SEARCH, f"{ENQUEUE}[{{x:3.5,y:b}}]", "hydra.sweeper.dry_run=true")
    assert plan.returncode == 0, plan.stderr
    assert "\n  first  x=3.5 y=b\n" in plan.stdout
    assert "0 done, 20 to run" in plan.stdout
    plan = sweep("+x=1,2,3", f"{ENQUEUE}[{{x:3}}]", "hydra.sweeper.dry_run=true")
    assert "\n  0  +x=3\n  1  +x=1\n  2  +x=2\n" in plan.stdout
