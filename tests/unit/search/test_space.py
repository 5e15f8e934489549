"""Sweep strings become dimensions; points become overrides."""

import itertools
import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from hrm_sweep.errors import SpaceError
from hrm_sweep.search import grammar
from hrm_sweep.search.parsing import parse_space
from hrm_sweep.search.space import Space

grammar.extend()  # the plugin does that when Hydra starts


def space_of(*overrides: str) -> Space:
    return parse_space(OverridesParser.create().parse_overrides(list(overrides)))


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        pytest.param("x=interval(0, 1)", FloatDistribution(0.0, 1.0), id="interval"),
        pytest.param(
            "x=tag(log, interval(1e-4, 1e-2))", FloatDistribution(1e-4, 1e-2, log=True), id="log"
        ),
        pytest.param("x=int(interval(2, 9))", IntDistribution(2, 9), id="int stays an integer"),
        pytest.param(
            "x=tag(log, int(interval(1, 64)))",
            IntDistribution(1, 64, log=True),
            id="int on a log scale",
        ),
        pytest.param("x=range(8, 64, 8)", IntDistribution(8, 56, step=8), id="range, end left out"),
        pytest.param(
            "x=range(0, 1, 0.25)", FloatDistribution(0.0, 0.75, step=0.25), id="float range"
        ),
        pytest.param("x=choice(64, 128)", CategoricalDistribution([64, 128]), id="choice"),
        pytest.param("x=a,b,null", CategoricalDistribution(["a", "b", None]), id="words and null"),
        pytest.param(
            "x=[1,2],[3]", CategoricalDistribution(["[1,2]", "[3]"]), id="lists by their text"
        ),
    ],
)
def test_a_sweep_string_becomes_a_distribution(text, distribution):
    (dimension,) = space_of(text).dimensions
    assert (dimension.name, dimension.distribution) == ("x", distribution)


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        pytest.param("x=1,2,4", IntDistribution(1, 4), id="whole numbers"),
        pytest.param("x=1e-4,5e-4,1e-3", FloatDistribution(1e-4, 1e-3, log=True), id="a decade"),
        pytest.param("x=0,0.5", FloatDistribution(0, 0.5), id="with zero"),
        pytest.param("x=true,false", CategoricalDistribution([True, False]), id="booleans"),
        pytest.param("x=1,auto", CategoricalDistribution([1, "auto"]), id="mixed"),
    ],
)
def test_numbers_of_a_grid_keep_their_order_and_scale(text, distribution):
    assert space_of(text).distributions == {"x": distribution}


def test_numbers_of_a_search_stay_a_list():
    searched = space_of("x=64,128", "y=interval(0, 1)")
    assert searched.distributions["x"] == CategoricalDistribution([64, 128])


def test_a_grid_is_walked_in_hydras_order_with_every_override_in_its_place():
    space = space_of("a=1,2", "fixed=7", "+b=x,y", "~gone")
    written = [space.overrides(point) for point in space.points()]
    expected = [
        [f"a={a}", "fixed=7", f"+b={b}", "~gone"] for a, b in itertools.product([1, 2], "xy")
    ]
    assert written == expected


def test_of_two_overrides_for_a_key_the_later_counts():
    assert list(space_of("a=1,2", "a=5").points()) == [{}]
    assert space_of("a=1,2", "a=5").overrides({}) == ["a=5"]


@pytest.mark.parametrize("value", [1e-4, 0.1 + 0.2, 5e-324, 1 / 3, 1e22])
def test_a_sampled_number_gives_the_same_bits_back(value):
    (text,) = space_of("x=interval(0, 1e23)").overrides({"x": value})
    (override,) = OverridesParser.create().parse_overrides([text])
    assert override.value() == value


def test_a_logrange_has_both_ends_and_equal_ratios():
    (dimension,) = space_of("x=logrange(1e-5, 1e-2, 4)").dimensions
    assert dimension.walk == (1e-5, 1e-4, 1e-3, 1e-2)
    assert space_of("x=logrange(1e-5, 1e-2, 4)").distributions == {
        "x": FloatDistribution(1e-5, 1e-2, log=True)
    }


def test_zipped_lists_are_walked_together():
    space = space_of("a=zip(1,2,1)", "b=x,y", "c=zip(p,q,r)")
    points = [tuple(space.overrides(point)) for point in space.points()]
    together = [(1, "p"), (2, "q"), (1, "r")]
    assert points == [(f"a={a}", f"b={b}", f"c={c}") for a, c in together for b in "xy"]
    assert space.in_words() == {"a c": ["1 p", "2 q", "1 r"], "b": ["x", "y"]}


def test_zips_with_tags_of_their_own_are_walked_apart():
    space = space_of("a=zip(1,2)", "b=tag(t, zip(3,4))", "c=zip(5,6)", "d=tag(t, zip(7,8))")
    points = [tuple(point[name] for name in "abcd") for point in space.points()]
    assert points == [(1, 3, 5, 7), (1, 4, 5, 8), (2, 3, 6, 7), (2, 4, 6, 8)]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        pytest.param(["a=zip(1,2)", "b=zip(1,2,3)"], "b=zip(...): has 3 values, and a", id="long"),
        pytest.param(["a=zip(1,1)", "b=zip(2,2)"], "a point stands in it twice", id="twice"),
        pytest.param(["a=zip(1,2)", "b=interval(0,1)"], "walked together in a grid", id="search"),
    ],
)
def test_what_cannot_be_walked_together_is_named(overrides, words):
    with pytest.raises(SpaceError, match=re.escape(words)):
        space_of(*overrides)


@pytest.mark.parametrize("text", ["x=logrange(0, 1, 3)", "x=logrange(1, 2, 1)"])
def test_an_impossible_logrange_is_refused(text):
    with pytest.raises(HydraException, match="logrange needs"):
        space_of(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("x=interval(3, 1)", "low < high, got 3.0 and 1.0", id="interval upside down"),
        pytest.param(
            "x=tag(lg, interval(1, 3))", "unknown tag lg; the one we know is log", id="tag"
        ),
        pytest.param("x=range(5, 5)", "nothing to search", id="empty range"),
        pytest.param("x=1,2,1", "the value 1 stands in it twice", id="twice"),
        pytest.param("x=tag(log, range(2, 9, 2))", "use an interval", id="log range with a step"),
        pytest.param(
            "x=tag(log, interval(0, 1))", "x=tag(log, interval(0, 1)): ", id="log of zero"
        ),
    ],
)
def test_what_cannot_be_searched_is_named(text, words):
    with pytest.raises(SpaceError) as caught:
        space_of(text)
    assert words in str(caught.value)
    assert str(caught.value).startswith(text)


def test_the_corners_of_a_small_grid_are_all_its_points():
    assert len(space_of("a=1,2,3", "b=1,2").corners(at_most=64)) == 6


def test_the_corners_of_a_large_space_show_each_choice_and_both_ends():
    space = space_of("a=range(0, 1000)", "b=x,y,z", "c=interval(0.5, 2)")
    corners = space.corners(at_most=64)
    assert len(corners) <= 64
    assert {corner["a"] for corner in corners} == {0, 999}
    assert {corner["b"] for corner in corners} == {"x", "y", "z"}
    assert {corner["c"] for corner in corners} == {0.5, 2.0}
    assert {"a": 999, "b": "z", "c": 2.0} in corners


def test_the_corners_of_intervals_are_each_composed_once():
    corners = space_of("a=interval(0,1)", "b=interval(2,3)", "c=interval(4,5)").corners(at_most=64)
    assert len(corners) == 8
    assert {tuple(corner.values()) for corner in corners} == {
        *itertools.product((0, 1), (2, 3), (4, 5))
    }


def test_the_corners_of_a_large_grid_show_each_value_of_a_short_range_and_walk_zips_together():
    space = space_of("a=range(0, 20)", "b=zip(1,2,3)", "c=zip(p,q,r)", "d=range(0, 20)")
    corners = space.corners(at_most=64)
    assert {corner["a"] for corner in corners} == set(range(20))
    assert {(corner["b"], corner["c"]) for corner in corners} == {(1, "p"), (2, "q"), (3, "r")}


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(["9007199254740992", "9007199254740993"], id="beyond 2**53"),
        pytest.param(["12345678901234567890", "1"], id="beyond 2**64"),
        pytest.param(["9007199254740993", "0.5"], id="beyond 2**53, with a fraction"),
        pytest.param(["nan", "inf", "-inf", "1.0"], id="not finite"),
        pytest.param(["1", "'1'"], id="a number and its text"),
        pytest.param(["null", "'null'", "'None'"], id="null and its text"),
        pytest.param(["true", "'true'", "0"], id="true and its text"),
        pytest.param(["-0.0", "1.0"], id="minus zero"),
        pytest.param(["[1,2]", "[2,1]", "{a:1}", "[]"], id="lists and dicts"),
        pytest.param(["'a,b'", "'it\\'s'", "'é ü😀'", "''", f"'{'x' * 9000}'"], id="texts"),
    ],
)
@pytest.mark.parametrize("other", ["y=1", "y=interval(0,1)"])
def test_every_value_comes_back_from_optuna_as_it_was_typed(values, other):
    space = space_of(f"x={','.join(values)}", other)
    texts = []
    for value in space.dimensions[0].walk:
        distribution = json_to_distribution(distribution_to_json(space.distributions["x"]))
        kept = distribution.to_external_repr(float(distribution.to_internal_repr(value)))
        texts.append(space.overrides({"x": kept, "y": 1})[0].removeprefix("x="))
    assert [text.lower() for text in texts] == [value.lower() for value in values]


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        pytest.param("1,true", "1 and True are one value to Optuna", id="true is 1"),
        pytest.param("1,1.0", "1 and 1.0 are one value to Optuna", id="1.0 is 1"),
        pytest.param("0.0,-0.0", "0.0 and -0.0 are one value to Optuna", id="zeros"),
        pytest.param("inf,'inf'", "inf and 'inf' are one value to Optuna", id="inf and its text"),
        pytest.param("zip(1,true)", "1 and True are one value to Optuna", id="in a zip"),
        pytest.param("nan,nan", "the value nan stands in it twice", id="nan twice"),
        pytest.param("interval(1,inf)", "an interval needs finite bounds", id="no end"),
        pytest.param("interval(-1e308,1e308)", "needs finite bounds", id="too wide to measure"),
        pytest.param("interval(nan,1)", "an interval needs low < high", id="nan as a bound"),
        pytest.param("int(interval(1,1e20))", "beyond 2**53", id="whole numbers beyond 2**53"),
        pytest.param("range(0,inf)", "a range needs finite numbers", id="endless range"),
        pytest.param("range(0,1e12)", "at most 1,000,000 values", id="long range"),
        pytest.param("range(0,10,nan)", "a range needs finite numbers", id="nan as a step"),
    ],
)
def test_values_that_would_not_survive_are_refused(sweep, words):
    with pytest.raises(SpaceError) as caught:
        space_of(f"x={sweep}")
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"x={sweep}: ")
