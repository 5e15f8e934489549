"""A study's tables and lines on narrow terminals: unit by unit, and a whole study on each width."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from studies import awaiting, command

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


def on_a_terminal(width: int, *arguments: str, until: str, kind: str = "xterm") -> list[str]:
    """The lines that a command draws on a terminal of that width, also those it draws over. Its
    trials wait for a file that is made when it has drawn what is told by a pattern."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
    environment = {"TERM": kind, "PATH": os.environ["PATH"]}
    with subprocess.Popen(arguments, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        text = b""
        while chunk := _read(ours):
            text += chunk
            if re.search(until.encode(), text):
                Path("go").touch()
    os.close(ours)
    assert process.returncode == 0, text.decode()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.decode()).replace("\r", "\n").split("\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed
        return b""


def test_nothing_of_a_study_is_wider_than_its_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    note = "[/b] " + "words and words " * 9
    settings = (f"+note='{note}'", f"+path={PATH},{PATH}/two", "+model.size=1,2")
    held = command("+end=well,raise", "+x=1", *settings, awaiting("go", [1]))
    lines = on_a_terminal(60, *held, until=r"> +\d+ .* 2/10 ")
    own = [line for line in lines if "once more" not in line]  # a command is left whole
    assert max(map(len, own)) <= 60
    assert any(re.match(r"> +\d+ .* 2/10 ", line) for line in lines)
    told = " ".join(" ".join(own).split())
    assert "4 complete, 4 failed" in told
    assert told.count("failed: ValueError: this one raises") == 4
    assert Path("multirun/study/report.html").exists()


def test_a_dumb_terminal_gets_plain_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    held = command("+x=1", awaiting("go", [1]))
    lines = on_a_terminal(80, *held, until="trial 0  2/10 ", kind="dumb")
    assert any(line.startswith("trial 0  10/10  objective 1  done in ") for line in lines)
    assert any(re.match(r"trial 0  2/10  objective 1\.5  ", line) for line in lines)
