"""Comments of YAML files, by key."""

import pytest

from hrm_sweep.keys.comments import parse


@pytest.mark.parametrize(
    ("text", "comments"),
    [
        pytest.param("lr: 0.1  # learning rate", {"lr": "learning rate"}, id="behind"),
        pytest.param("a: 1\n# rate of it\nlr: 0.1", {"a": "", "lr": "rate of it"}, id="above"),
        pytest.param("a: 1\n# one\n# two\nlr: 0.1", {"a": "", "lr": "one two"}, id="two lines"),
        pytest.param("a: 1\n# above\nb: 2 # behind", {"a": "", "b": "behind"}, id="behind wins"),
        pytest.param("a: '#1'  # a number", {"a": "a number"}, id="a quoted #"),
        pytest.param("a: x#1  # a number", {"a": "a number"}, id="a # inside a value"),
        pytest.param("a:  # of it\n  b: 2  # of b", {"a": "of it", "a.b": "of b"}, id="mapping"),
        pytest.param("a: {b: 1}  # both", {"a": "both", "a.b": "both"}, id="flow mapping"),
        pytest.param("a: [1, 2]  # list", {"a": "list"}, id="flow list"),
        pytest.param("a:  # list\n  - 1\n  - 2", {"a": "list"}, id="list"),
        pytest.param("a: null # none", {"a": "none"}, id="null"),
        pytest.param("a:\n  b: 1\n# of c\nc: 2", {"a": "", "a.b": "", "c": "of c"}, id="indented"),
        pytest.param("", {}, id="empty"),
    ],
)
def test_each_key_has_the_comment_beside_it(text, comments):
    found = parse(text).lines
    assert {name: line.comment for name, line in found.items()} == comments


def test_the_top_of_a_file_is_its_heading_and_no_key_s_comment():
    found = parse("# @package _global_\n# A task\n# of puzzles.\nname: x  # its name\n")
    assert (found.heading, found.package) == ("A task of puzzles.", "_global_")
    assert parse("# A task.\nname: x\n").lines["name"].comment == ""


def test_lines_are_counted_from_one():
    assert parse("# top\na: 1\nb: 2\n").lines["b"].number == 3
