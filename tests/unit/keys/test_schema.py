"""What config classes say of their keys."""

import enum
from dataclasses import dataclass, field
from typing import Any

from hrm_sweep.keys.schema import choice, docstrings, schema_of, summary


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Inner:
    patience: int | None = None
    """Evaluations
    without an improvement."""


@dataclass
class Base:
    lr: float = 0.1
    """Learning rate."""


@dataclass
class Outer(Base):
    """All keys.

    And more of them.
    """

    kind: str = choice("a", "b", default="a")
    flag: bool = False
    colour: Colour = Colour.RED
    anything: Any = None
    names: list[str] = field(default_factory=list)
    inner: Inner = field(default_factory=Inner)


def test_docstrings_are_one_line_and_are_inherited():
    assert docstrings(Outer) == {"lr": "Learning rate."}
    assert docstrings(Inner) == {"patience": "Evaluations without an improvement."}


def test_choices_are_those_declared_or_of_the_type():
    found = {name: said.choices for name, said in schema_of(Outer).items()}
    assert found["kind"] == ("a", "b")
    assert found["flag"] == ("true", "false")
    assert found["colour"] == ("RED", "BLUE")
    assert found["lr"] == found["anything"] == found["names"] == ()


def test_kinds_are_the_parts_of_the_type():
    found = {name: said.kinds for name, said in schema_of(Outer).items()}
    assert found["inner.patience"] == (int, type(None))
    assert found["names"] == (list,)
    assert found["anything"] == ()


def test_a_choice_has_its_default():
    assert Outer().kind == "a"


def test_the_summary_is_the_first_paragraph():
    assert summary(Outer) == "All keys."
    assert summary(Inner) == ""
