"""Whole studies on a terminal: a narrow one, a dumb one."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

from studies import awaiting, command, study, sweep

PATH = "/usr/share/dictionaries/words"


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


COMMANDS = ("once more", "run failed")
"""What stands before commands, which are left whole."""


def test_nothing_of_a_study_is_wider_than_its_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    note = "[/b] " + "words and words " * 9
    settings = (f"+note='{note}'", f"+path={PATH},{PATH}/two", "+model.size=1,2")
    held = command("+end=well,raise", "+x=1", *settings, awaiting("go", [1]))
    lines = on_a_terminal(60, *held, until=r"> +\d+ .* 2/10 ")
    own = [line for line in lines if not any(words in line for words in COMMANDS)]
    assert max(map(len, own)) <= 60
    assert any(re.match(r"> +\d+ .* 2/10 ", line) for line in lines)
    told = " ".join(" ".join(own).split())
    assert "4 complete, 4 failed" in told
    assert told.count("failed: ValueError: this one raises") == 4
    assert Path("multirun/study/report.html").exists()


def test_a_dumb_terminal_gets_plain_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    held = command("+x=1", awaiting("go", [1]))
    lines = on_a_terminal(80, *held, until="trial 0  step 2/10 ", kind="dumb")
    assert any(line.startswith("trial 0  step 10/10  objective 1  done in ") for line in lines)
    assert any(re.match(r"trial 0  step 2/10  objective 1\.5  ", line) for line in lines)


def test_a_study_continues_where_a_value_cannot_be_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = sweep("+x=1,2", "+y='日'")
    assert done.returncode == 0, done.stderr
    assert "2 complete" in done.stdout
    assert r"\u65e5" in done.stdout


def test_a_study_continues_when_the_reader_of_its_output_has_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with subprocess.Popen(
        command("+x=1,2,3"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 0, errors
    assert errors == ""
    assert {trial.state.name for trial in study().get_trials()} == {"COMPLETE"}
