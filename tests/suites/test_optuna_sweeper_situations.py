"""What the test suite of Hydra's own Optuna sweeper puts that sweeper into, here.

Its suite at 1.4.0rc3, test by test, and where 1.3.0 differs:

    discovery                                        test_hydra_suites.py
    a distribution from `search_space` (1.3)         refused here, and `params` named
    a distribution from an override                  ranges end before their bound, as in Hydra
    searched and fixed overrides, deletions
    jobs of an app that searches nothing             one job here: there is one point
    a search, its keys in the config or typed
    the grid sampler, with as many trials as it has points, and with fewer
    two objectives, their keys in the config or typed
    a custom search space
    warnings about `search_space` (1.3)              refused here
    failures below and above `max_failure_rate`      a share of the study here, of a batch there
    a sampler that Optuna has no longer

docs/from_optuna_sweeper.md explains the differences.
"""

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from paths import TESTS
from studies import PATIENCE_SECONDS

from hrm_sweep import load_study
from hrm_sweep.search.parsing import parse_space

APP = TESTS / "apps" / "bowl" / "bowl-app.py"

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def run(*words: str, config: str = "single") -> subprocess.CompletedProcess[str]:
    """Runs a study of the app as its users do: with Hydra's own launcher."""
    flags = ["-cn", config, "-m", "hydra.sweep.dir=swept", "hydra.sweeper.tracking.name=off"]
    return subprocess.run(
        [sys.executable, str(APP), *flags, *words],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


def results(*words: str, config: str = "single") -> DictConfig:
    """What a study leaves that ends well."""
    done = run(*words, config=config)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = OmegaConf.load("swept/optimization_results.yaml")
    assert isinstance(loaded, DictConfig)
    assert loaded.name == "optuna"
    return loaded


def study(name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage="sqlite:///multirun/optuna.db")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("key=choice(1,2)", CategoricalDistribution([1, 2])),
        ("key=choice(true, false)", CategoricalDistribution([True, False])),
        ("key=choice('hello', 'world')", CategoricalDistribution(["hello", "world"])),
        ("key=shuffle(choice(1, 2))", CategoricalDistribution([1, 2])),
        ("key=range(1,3)", IntDistribution(1, 2)),
        ("key=range(0.5, 5.5, step=1)", FloatDistribution(0.5, 4.5, step=1)),
        ("key=interval(1, 5)", FloatDistribution(1, 5)),
        ("key=int(interval(1, 5))", IntDistribution(1, 5)),
        ("key=tag(log, interval(1, 5))", FloatDistribution(1, 5, log=True)),
        ("key=tag(log, int(interval(1, 5)))", IntDistribution(1, 5, log=True)),
    ],
)
def test_a_distribution_from_an_override(override: str, expected: BaseDistribution):
    (dimension,) = parse_space(OverridesParser.create().parse_overrides([override])).dimensions
    if isinstance(expected, CategoricalDistribution):
        assert isinstance(dimension.distribution, CategoricalDistribution)
        assert set(dimension.distribution.choices) == set(expected.choices)
    else:
        assert dimension.distribution == expected


@pytest.mark.parametrize(
    ("overrides", "searched", "fixed"),
    [
        (["key=choice(1,2)"], ["key"], []),
        (["key=5"], [], ["key=5"]),
        (["a=choice(1,2)", "b=5", "c=range(1,3)"], ["a", "c"], ["b=5"]),
        (["~z"], [], ["~z"]),
        (["~z=10"], [], ["~z=10"]),
    ],
)
def test_searched_and_fixed_overrides(overrides, searched, fixed):
    space = parse_space(OverridesParser.create().parse_overrides(overrides))
    assert [each.name for each in space.dimensions] == searched
    assert [part for part in space.parts if isinstance(part, str)] == fixed


def test_an_app_that_searches_nothing_is_run_once():
    done = run("hydra.sweeper.params=null", "hydra.sweeper.n_jobs=3")
    assert done.returncode == 0
    assert "n_trials=20 is more than there are points: each is run once" in done.stdout
    assert len(study("single").trials) == 1


def test_jobs_are_launched_together():
    done = run("hydra.sweeper.n_jobs=3", "hydra.sweeper.n_trials=6")
    assert done.returncode == 0
    assert done.stdout.count("Launching 3 jobs locally") == 2


@pytest.mark.parametrize("typed", [(), ("x=choice(0, 1, 2)", "y=0", "hydra.sweeper.n_trials=2")])
def test_a_search_with_its_keys_in_the_config_or_typed(typed):
    found = results("hydra.job.chdir=True", "~z", *typed)
    best = study("single").best_trial
    assert found.best_params.x == best.params["x"]
    assert ("y" in best.params) == (not typed)
    assert found.best_params == best.params
    assert found.best_value == best.value
    assert found.best_value <= 2.27


def test_a_range_that_lost_its_end_is_named():
    done = run("hydra.sweeper.dry_run=true")
    told = "x=range(-5.5, 5.5, step=0.5): without 5.5, as in Hydra (hydra-optuna-sweeper 1.3"
    assert done.stdout.count(told) == 1


def test_the_grid_sampler_runs_each_point_once():
    found = results(config="grid")
    points = [tuple(trial.params.values()) for trial in study("grid").trials]
    assert len(points) == len(set(points)) == 8
    assert (abs(found.best_params.x), found.best_params.y) == (1, 0)


def test_the_grid_sampler_runs_some_points_of_a_grid():
    results("hydra.sweeper.n_trials=3", config="grid")
    points = {tuple(sorted(trial.params.items())) for trial in study("grid").trials}
    assert len(points) == 3


@pytest.mark.parametrize("typed", [(), ("x=range(0, 5)", "y=range(0, 3)")])
def test_two_objectives(typed):
    found = results("hydra/sweeper/sampler=random", *typed, config="both")
    assert study("both").metric_names == ["objective_0", "objective_1"]
    step = 1 if typed else 0.5
    for one in found.solutions:
        assert one.params.x % step == one.params.y % step == 0
        assert not any(is_bettered(one["values"], other["values"]) for other in found.solutions)


def test_two_objectives_in_an_array():
    results("returns=array", "hydra.sweeper.n_trials=2", config="both")
    assert [len(trial.values) for trial in study("both").trials] == [2, 2]


def test_objectives_in_a_dict_are_named():
    done = run("returns=dict", "hydra.sweeper.n_trials=1", config="both")
    assert "Name them, such as hydra.sweeper.objective=[near,far]" in done.stdout
    name = "hydra.sweeper.study_name=named"
    results("returns=dict", "hydra.sweeper.objective=[near,far]", name, config="both")
    assert study("named").metric_names == ["near", "far"]


def is_bettered(one: list[float], other: list[float]) -> bool:
    return one != other and all(b <= a for a, b in zip(one, other, strict=True))


def test_a_custom_search_space():
    found = results("margin=0.3", "hydra/sweeper/sampler=random", config="custom")
    trials = study("custom").trials
    assert len(trials) == 20
    for trial in trials:
        assert abs(trial.params["z"] - trial.params["x"]) <= 0.3
        assert ("+depth" in trial.params) == (trial.params["+form"] == "deep")
    assert found.best_params == study("custom").best_params
    table = load_study("swept").trials
    is_deep = table["params.form"] == "deep"
    assert table["params.depth"].notna().tolist() == is_deep.tolist()
    for command in ("best", "show", "report", "export", "list", "reproduce --yes", "resume --yes"):
        words = [*command.split(), *(["swept"] if command != "list" else [])]
        done = subprocess.run(
            [sys.executable, "-m", "hrm_sweep", *words],
            capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, command + done.stdout + done.stderr


def test_a_custom_search_space_is_found_again_without_the_database():
    fewer, more = ("hydra.sweeper.n_trials=4",), ("hydra.sweeper.n_trials=6",)
    results(*fewer, config="custom")
    before = [trial.params for trial in study("custom").trials]
    for path in Path("multirun").glob("optuna.db*"):
        path.unlink()
    results(*more, config="custom")
    assert [trial.params for trial in study("custom").trials][:4] == before
    assert len(study("custom").trials) == 6


@pytest.mark.parametrize("params", [(), ("hydra.sweeper.params=null",)])
def test_the_older_name_of_params_is_refused(params):
    done = run("hydra.sweeper.search_space={x: {type: int, low: 1, high: 5}}", *params)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]  # Hydra 1.4 warns of `version_base` before it
    assert line.startswith("hydra.sweeper.search_space={'x': {'type': 'int', ")
    assert "is called params; such as hydra.sweeper.params.x=" in line
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("rate", "ended"),
    [
        pytest.param("0.0", 1, id="the first failure ends it"),
        pytest.param("0.5", 4, id="the share of four trials ends it"),
        pytest.param("1.0", 6, id="all may fail"),
    ],
)
def test_failures_below_and_above_the_rate(rate, ended):
    limit = f"hydra.sweeper.max_failure_rate={rate}"
    done = run(limit, "fails=true", "hydra.sweeper.n_trials=6")
    assert done.returncode == 1
    assert "RuntimeError: this app was told to fail" in done.stdout
    assert (f"hydra.sweeper.max_failure_rate={rate}" in done.stderr) == (ended < 6)
    states = [trial.state.name for trial in study("single").trials]
    assert states.count("FAIL") == ended


def test_a_sampler_that_optuna_has_no_longer_is_named():
    done = run("hydra/sweeper/sampler=motpe", config="both")
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("hydra/sweeper/sampler=motpe: Optuna has no MOTPESampler now; take ")


def test_what_is_wrong_with_a_value_of_params_names_params():
    done = run("+hydra.sweeper.params.z=[1,2]")
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("hydra.sweeper.params.z=[1, 2]: may mean a search or a value;")
