"""`hydra.sweeper.params`, as people write YAML."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from hrm_sweep.errors import SpaceError
from hrm_sweep.search.params import param_overrides
from hrm_sweep.search.parsing import ends_left_out


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        pytest.param("optimizer.lr: 1e-3,1e-4", ["optimizer.lr=1e-3,1e-4"], id="a list as text"),
        pytest.param("x: tag(log, interval(1, 5))", ["x=tag(log, interval(1, 5))"], id="a call"),
        pytest.param("z: choice('foo', \"bar\")", ["z=choice('foo', \"bar\")"], id="quotes"),
        pytest.param(
            "optimizer: {lr: '1e-3,1e-4', name: adam}",
            ["optimizer.lr=1e-3,1e-4", "optimizer.name=adam"],
            id="keys below a key",
        ),
        pytest.param("+new: {a: 'range(3)'}", ["+new.a=range(3)"], id="a key that is added"),
        pytest.param(
            "{a: 1, b: 0.5, c: true, d: null, e: -3}",
            ["a=1", "b=0.5", "c=true", "d=null", "e=-3"],
            id="values that are no text",
        ),
        pytest.param("{a: 3, b: '${a}'}", ["a=3", "b=3"], id="an interpolation"),
        pytest.param("'[1, 2]': x", ["[1, 2]=x"], id="left to Hydra"),
        pytest.param("x: '[64, 64]'", ["x=[64, 64]"], id="one value that is a list"),
    ],
)
def test_params_are_overrides(yaml, expected):
    assert param_overrides(OmegaConf.create(yaml)) == expected


def test_there_may_be_none():
    assert param_overrides(None) == param_overrides({}) == []


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        pytest.param(
            "lr: [1e-3, 1e-4]",
            "hydra.sweeper.params.lr=[0.001, 0.0001]: may mean a search or a value; as text, "
            "choice(0.001, 0.0001) searches its elements, and '[0.001, 0.0001]' in quotes is one "
            "value",
            id="a list",
        ),
        pytest.param(
            "model: {layers: {}}",
            "hydra.sweeper.params.model.layers={}: may mean a search or a value; as text, '{}' in "
            "quotes is one value",
            id="an empty mapping",
        ),
    ],
)
def test_what_may_mean_two_things_is_refused(yaml, told):
    with pytest.raises(SpaceError) as caught:
        param_overrides(OmegaConf.create(yaml))
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("override", "bound"),
    [
        pytest.param("x=range(0, 5)", "6", id="whole numbers"),
        pytest.param("x=range(5)", "6", id="from 0 on"),
        pytest.param("x=range(-5.5, 5.5, step=0.5)", "6", id="fractions"),
        pytest.param("x=range(0, 0.3, 0.1)", "0.4", id="fractions that are not quite"),
        pytest.param("x=range(5, 0, -1)", "-1", id="downwards"),
    ],
)
def test_a_range_that_ends_before_its_bound_is_named(override, bound):
    (line,) = ends_left_out(OverridesParser.create().parse_overrides([override]))
    assert line.startswith(f"{override}: without ")
    assert line.endswith(f"for that, let it end at {bound}")


def test_no_other_sweep_is_named():
    others = ["x=range(0, 5, 2)", "x=1,2", "x=interval(0, 1)", "x=5", "x=choice(1,2)"]
    assert list(ends_left_out(OverridesParser.create().parse_overrides(others))) == []
