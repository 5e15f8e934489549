"""Tables on narrow terminals."""

from io import StringIO

import pytest
from rich.console import Console

from hrm_sweep.terminal import tables

PATH = "/usr/share/dictionaries/words"
METRICS = ["loss", "exact match", "copy"]


def drawn(width: int, *, setting: str = PATH) -> list[str]:
    """Lines of a table of one trial with a setting and three metrics, `exact match` the goal."""
    console = Console(width=width, file=StringIO())

    def draw(metrics, most):
        table = tables.table_of(["trial"], ["path"], metrics)
        table.add_row("12", *tables.cells([setting], most), *(f"{name}!" for name in metrics))
        return table

    console.print(tables.fitting(console, draw, METRICS, ["exact match"]))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("width", "headings", "shown"),
    [
        pytest.param(80, "trial path loss exact match copy", PATH, id="wide"),
        pytest.param(57, "trial path loss exact match copy", "/usr/sha…s/words", id="long value"),
        pytest.param(51, "trial path loss exact match copy", "/usr/sha…s/words", id="just so"),
        pytest.param(45, "trial path loss exact match", "/usr/sha…s/words", id="a metric goes"),
        pytest.param(38, "trial path exact match", "/usr/sha…s/words", id="the goal stays"),
        pytest.param(30, "trial path exact match", "/usr/sha…", id="the setting gives way"),
    ],
)
def test_a_table_gives_up_what_is_needed_least(width, headings, shown):
    first, second = drawn(width)
    assert first.split() == headings.split()
    assert shown in second
    assert "12" in second
    assert "exact match!" in second
    assert max(len(first), len(second)) <= width


def test_square_brackets_of_a_setting_are_no_markup():
    assert "[bold]" in drawn(80, setting="[bold]")[1]


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        pytest.param(["lr", "model.L_cycles"], ["lr", "L_cycles"], id="last words"),
        pytest.param(["model.name", "data.name"], ["model.name", "data.name"], id="ambiguous"),
    ],
)
def test_headings_are_the_last_words_of_keys(keys, names):
    assert tables.short_names(keys) == names
