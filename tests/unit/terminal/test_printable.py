"""Other people's texts are shown and not obeyed: escapes, bells, reversed text."""

import io
from contextlib import redirect_stdout

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hrm_sweep.system import output
from hrm_sweep.terminal.consoles import PrintableConsole

HOSTILE = [
    pytest.param("\x1b[2J\x1b[31mred", r"\x1b[2J\x1b[31mred", id="ANSI"),
    pytest.param("\x1b]52;c;ZWNobw==\x07", r"\x1b]52;c;ZWNobw==\x07", id="OSC 52, the clipboard"),
    pytest.param("\x1b]8;;http://evil\x1b\\here", r"\x1b]8;;http://evil\x1b\here", id="OSC 8"),
    pytest.param("\x9b2J", r"\x9b2J", id="C1"),
    pytest.param("done\rfail", r"done\rfail", id="carriage return"),
    pytest.param("a\b\bb", r"a\x08\x08b", id="backspace"),
    pytest.param("\u202egnp.exe", r"\u202egnp.exe", id="right to left"),
    pytest.param("a\u2066b\u2069", r"a\u2066b\u2069", id="isolates"),
    pytest.param("a\u200bb", r"a\u200bb", id="zero width"),
]


class Screen(io.StringIO):
    """A terminal that keeps what it is sent."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_a_text_is_printed_with_its_control_characters_escaped(text, shown):
    with redirect_stdout(Screen()) as screen, output.printable_streams():
        print(f"{text}\ttab\nnext line")
    assert screen.getvalue() == f"{shown}\ttab\nnext line\n"


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_a_table_shows_it_too_and_keeps_its_own_colours(monkeypatch, text, shown):
    monkeypatch.setenv("TERM", "xterm-256color")
    table = Table("name", header_style="bold")
    table.add_row(text)
    table.add_row(Text("red", style="red"))
    with redirect_stdout(Screen()) as screen, output.printable_streams(), output.tolerated():
        PrintableConsole().print(table)
        PrintableConsole().print(text)
        PrintableConsole().print(Text(text))
    assert screen.getvalue().count(shown) >= 2  # rich leaves some out of its own texts
    assert text not in screen.getvalue()
    assert "\x1b[31m" in screen.getvalue()


def test_a_text_of_any_language_stays():
    text = "Größe 日本 שלום 👩\u200d🔬 café"
    assert output.printable(text) == text


def test_a_live_table_keeps_its_own_controls_and_no_others(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    with redirect_stdout(Screen()) as screen, output.printable_streams(), output.tolerated():
        console = PrintableConsole()
        with Live("first\x07", console=console, auto_refresh=False) as live:
            live.update("second\nline", refresh=True)
            console.print("above")
        print("\x1b[2Jafter")
    assert "\\x1b[1A" not in screen.getvalue()
    assert "\x1b[1A" in screen.getvalue()
    assert r"first\x07" in screen.getvalue()
    assert r"\x1b[2Jafter" in screen.getvalue()
