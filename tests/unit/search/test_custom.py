"""A function of the user that adds parameters to each trial."""

from pathlib import Path

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution, IntDistribution

from hrm_sweep.errors import ConfigError, SpaceError, StudyError
from hrm_sweep.search import grammar
from hrm_sweep.search.custom import CustomSpace
from hrm_sweep.search.parsing import parse_space
from hrm_sweep.search.space import Space

CONFIG = OmegaConf.create({"width": 0.5})


def near(config, trial):
    x = trial.params["x"]
    trial.suggest_float("z", x - config.width, x + config.width)
    if trial.suggest_categorical("+kind", ["flat", "1", None]) == "1":
        trial.suggest_int("+deep", 1, 3)


def space_of(*overrides: str, function=near) -> Space:
    custom = CustomSpace("app.near", function, CONFIG)
    return parse_space(OverridesParser.create().parse_overrides(list(overrides)), custom)


def test_a_list_beside_added_parameters_is_no_grid():
    assert not space_of("x=1,2").is_finite


def test_added_parameters_depend_on_the_others_and_are_overrides():
    space = space_of("x=1.0,2.0", "y=3")
    trial = optuna.create_study().ask(space.distributions)
    space.extend(trial)
    assert abs(trial.params["z"] - trial.params["x"]) <= CONFIG.width
    params = {"z": 1.25, "+deep": 2, "x": 1.0, "+kind": "1"}
    assert space.overrides(params) == ["x=1.0", "y=3", "z=1.25", "+deep=2", "+kind='1'"]
    assert list(space.in_order(params)) == ["x", "z", "+deep", "+kind"]


@pytest.mark.parametrize("kind", ["flat", "1", None])
def test_a_point_is_read_back_from_its_overrides_with_its_distributions(kind):
    params = {"x": 2.0, "z": 1.75, "+kind": kind} | ({"+deep": 2} if kind == "1" else {})
    space = space_of("x=interval(0, 5)", "y=3")
    assert space.params_of(space.overrides(params)) == params
    found = space.distributions_of(params)
    assert found.keys() == params.keys()
    assert found["z"] == FloatDistribution(1.5, 2.5)
    assert found.get("+deep", IntDistribution(1, 3)) == IntDistribution(1, 3)


def test_a_point_that_the_function_does_not_lead_to_is_refused():
    with pytest.raises(StudyError, match="'z' is not found"):
        space_of("x=interval(0, 5)").distributions_of({"x": 2.0})


@pytest.mark.parametrize("override", ["z=1", "+kind=flat", "~z"])
def test_an_added_parameter_that_is_set_too_is_refused(override):
    space = space_of("x=1,2", override)
    with pytest.raises(StudyError, match=r"app\.near: adds .* is there too"):
        space.extend(optuna.create_study().ask(space.distributions))


def test_where_the_function_raises_its_line_is_named():
    def broken(config, trial):
        raise KeyError("later\non")

    with pytest.raises(StudyError) as caught:
        space_of("x=1,2", function=broken).extend(optuna.create_study().ask({}))
    told = r"hydra.sweeper.custom_search_space=app.near: raised KeyError: 'later\non' (test_custom"
    assert str(caught.value).startswith(told)


def test_lists_that_are_walked_together_are_for_a_grid():
    grammar.extend()
    with pytest.raises(SpaceError, match="are walked together in a grid"):
        space_of("x=zip(1,2)", "y=zip(3,4)")


def test_the_function_is_found_in_a_file_whose_name_is_none_for_python(tmp_path, monkeypatch):
    Path(tmp_path, "my-app.py").write_text("def add(config, trial): trial.append(config.width)")
    monkeypatch.syspath_prepend(tmp_path)
    found, seen = CustomSpace.load("my-app.add", CONFIG), []
    found.extend(seen)
    assert seen == [0.5]
    assert CustomSpace.load(None, CONFIG) is None


@pytest.mark.parametrize(
    ("path", "told"),
    [
        pytest.param("nosuch.add", "cannot be imported: No module named 'nosuch'", id="module"),
        pytest.param("math.add", "cannot be imported: module 'math' has no", id="function"),
        pytest.param("math.pi", "must be a function of the config and a trial", id="a number"),
    ],
)
def test_what_is_no_function_is_refused(path, told):
    with pytest.raises(ConfigError) as caught:
        CustomSpace.load(path, CONFIG)
    assert str(caught.value).startswith(f"hydra.sweeper.custom_search_space={path}: {told}")
