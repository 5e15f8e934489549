"""Points read back from the overrides of recorded trials."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hrm_sweep.errors import SpaceError
from hrm_sweep.search.parsing import parse_space
from hrm_sweep.search.space import Space


def space_of(*overrides: str) -> Space:
    return parse_space(OverridesParser.create().parse_overrides(list(overrides)))


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param(["x=1,2,3"], id="integers"),
        pytest.param(["x=1e-4,0.001,1.0"], id="floats in several spellings"),
        pytest.param(["x=true,false,null"], id="words"),
        pytest.param(["x='a b',c,'1'"], id="quoted texts"),
        pytest.param(["x=[1,2],[3]"], id="lists"),
        pytest.param(["+x=1,2", "y=a,b", "z=3"], id="several, one of them new, one fixed"),
        pytest.param(["x=range(1,10,3)"], id="a range"),
    ],
)
def test_each_point_of_a_grid_comes_back_from_its_overrides(typed):
    space = space_of(*typed)
    points = list(space.points())
    assert [space.params_of(space.overrides(point)) for point in points] == points


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-17, 0.30000000000000004, 1.0])
def test_each_float_of_an_interval_comes_back_bit_for_bit(value):
    space = space_of("x=interval(0.0,1.0)")
    (found,) = space.params_of(space.overrides({"x": value})).values()
    assert (found, type(found)) == (value, float)


def test_each_integer_of_an_interval_comes_back():
    space = space_of("x=interval(1,9)")
    assert space.params_of(["x=7"]) == {"x": 7}


@pytest.mark.parametrize("override", ["x=4", "x=", "y=1"])
def test_a_value_outside_of_the_space_is_named(override):
    with pytest.raises(SpaceError, match=r"x=4?: is not in the search space"):
        space_of("x=1,2").params_of([override])
