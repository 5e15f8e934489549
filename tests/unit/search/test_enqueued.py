"""Points that the user has run first: read from a list or a file, and checked against the space."""

import re

import pytest
from fakes import space_of

from hrm_sweep.errors import SpaceError, StudyError
from hrm_sweep.search import grammar
from hrm_sweep.search.budget import Budget
from hrm_sweep.search.enqueued import parse_enqueued

SPACE = (
    *("lr=tag(log, interval(1e-5, 1e-2))", "depth=int(interval(1, 8))", "+opt=adam,sgd"),
    *("model.width=32,64", "flag=true,false", "note=null,'8'"),
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({"lr": 1e-3, "depth": 2}, {"lr": 1e-3, "depth": 2}, id="numbers"),
        pytest.param({"depth": 2.0}, {"depth": 2}, id="a whole number"),
        pytest.param({"+opt": "sgd"}, {"opt": "sgd"}, id="a key with its plus"),
        pytest.param({"model.width": 64}, {"model.width": 64}, id="a key with a dot"),
        pytest.param({"model": {"width": 64}}, {"model.width": 64}, id="a tree"),
        pytest.param({"flag": False, "note": None}, {"flag": False, "note": None}, id="constants"),
        pytest.param({"note": "8"}, {"note": "8"}, id="a number that is a text"),
        pytest.param({"lr": 1e-2}, {"lr": 1e-2}, id="an end"),
    ],
)
def test_a_point_of_the_space_is_taken(asked, expected):
    assert parse_enqueued([asked], space_of(*SPACE)) == (expected,)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        pytest.param([{"lr": 1}], ": point 1: lr=1: is not in the search space (1e-05 to 0.01)"),
        pytest.param([{"lr": "fast"}], ": point 1: lr=fast: is not in the search space"),
        pytest.param([{"lr": True}], ": point 1: lr=True: is not in the search space"),
        pytest.param([{"lr": float("nan")}], ": point 1: lr=nan: is not in the search space"),
        pytest.param(
            [{"depth": 2}, {"depth": 2.5}],
            ": point 2: depth=2.5: is not in the search space (1 to 8, whole numbers)",
        ),
        pytest.param([{"opt": "lion"}], ": point 1: opt=lion: is not in the search space (adam, s"),
        pytest.param([{"model": 64}], ": point 1 has model, which is not searched; searched is lr"),
        pytest.param([{"flag": 1}], ": point 1: flag=1: is not in the search space (True, False)"),
        pytest.param([{"note": 8}], ": point 1: note=8: is not in the search space (null, '8')"),
        pytest.param([{"hidden": 1}], ": point 1 has hidden, which is not searched"),
        pytest.param([{}], ": point 1 is empty"),
        pytest.param([{"lr": 1e-3}, {"lr": 0.001}], ": point 2 is point 1 again"),
        pytest.param({"lr": 1e-3}, ": must be a list of points"),
        pytest.param([1e-3], ": must be a list of points"),
        pytest.param(5, ": must be a list of points"),
        pytest.param("points.txt", "=points.txt: must be a list of points"),
        pytest.param("points.yaml", "=points.yaml: cannot be read (No such file or directory)"),
    ],
)
def test_any_other_is_refused(asked, said):
    with pytest.raises(SpaceError, match=f"^hydra.sweeper.enqueue{re.escape(said)}"):
        parse_enqueued(asked, space_of(*SPACE))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("points.yaml", "- {lr: 1e-3, opt: sgd}\n- model: {width: 64}\n"),
        ("points.json", '[{"lr": 0.001, "opt": "sgd"}, {"model.width": 64}]'),
        ("points.csv", "lr,opt,model.width\n1e-3,sgd,\n,,64\n"),
    ],
)
def test_a_file_has_the_same_points(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    points = parse_enqueued(str(tmp_path / name), space_of(*SPACE))
    assert points == ({"lr": 1e-3, "opt": "sgd"}, {"model.width": 64})


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.yaml", b"- {lr: ", "cannot be read (while parsing"),
        ("a.json", b"\xff\xfe\xff", "cannot be read"),
        ("a.yaml", b"lr: 1e-3\n", "must be a list of points"),
        ("a.yaml", b"", "must be a list of points"),
        ("a.csv", b"lr,depth\n1e-3\n", "a row is longer or shorter than the first"),
        ("a.csv", b"lr,value\n1e-3,5\n", "point 1 has value, which is not searched"),
    ],
)
def test_a_file_that_has_none_is_refused(name, content, reason, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpaceError, match=re.escape(reason)) as caught:
        parse_enqueued(str(tmp_path / name), space_of(*SPACE))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"hydra.sweeper.enqueue={tmp_path / name}: ")


def test_lists_that_are_walked_together_keep_to_that():
    grammar.extend()
    space = space_of("a=zip(1,2)", "b=zip(3,4)")
    assert parse_enqueued([{"a": 2}, {"a": 1, "b": 3}], space)
    with pytest.raises(SpaceError, match="point 1: a and b are walked together, and not with"):
        parse_enqueued([{"a": 1, "b": 4}], space)


def test_the_points_of_a_grid_begin_with_the_enqueued_ones():
    space = space_of("a=1,2", "b=p,q")
    asked = parse_enqueued([{"a": 2, "b": "q"}, {"a": 2}, {"b": "q"}], space)
    points = [tuple(point.values()) for point in Budget(space, None, asked).points()]
    assert points == [(2, "q"), (2, "p"), (1, "q"), (1, "p")]


def test_more_points_than_trials_are_refused():
    space = space_of("x=interval(0,1)")
    asked = parse_enqueued([{"x": 0.1}, {"x": 0.2}], space)
    assert Budget(space, 2, asked).num_trials == 2
    with pytest.raises(StudyError, match=r"n_trials=1: hydra\.sweeper\.enqueue has 2 points"):
        Budget(space, 1, asked)
