"""What another user's study says is shown as text, in the terminal and on its page."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from studies import APP, STUDY, command

FORBIDDEN = ["\x1b]", "\x1b[2J", "\x07", "\u202e"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with such a study, which was made in a terminal."""
    folder = tmp_path_factory.mktemp("hostile")
    name = "'\x1b]52;c;ZXZpbA==\x07\u202e<script>$\\frac$'"
    typed = command(
        *("+x=0,1,2", f"+note={name}", "hydra.sweeper.max_failure_rate=null"),
        *("hydra.sweeper.tracking.name=mlflow",),
        app=APP.with_name("hostile.py"),
    )
    (folder / "printed").write_text(printed(typed, folder))
    return folder


def printed(typed: list[str], folder: Path) -> str:
    """What a command prints to a terminal."""
    mine, its = pty.openpty()
    process = subprocess.Popen(
        typed, cwd=folder, stdin=its, stdout=its, stderr=its, env={**os.environ, "TERM": "xterm"}
    )
    os.close(its)
    os.write(mine, b"no\n")  # `reproduce` asks
    data = b""
    try:
        while block := os.read(mine, 65536):
            data += block
    except OSError:  # the other end is closed
        pass
    process.wait()
    os.close(mine)
    return data.decode(errors="replace")


def test_the_sweep_shows_it(project):
    text = (project / "printed").read_text()
    assert r"\x1b]52;c;ZXZpbA==" in text
    assert [each for each in FORBIDDEN if each in text] == []


def test_what_a_sweep_refuses_is_shown(project):
    text = printed(command("+x=1", "hydra.sweeper.pruner='\x1b]0;title\x07'"), project)
    assert r"hydra.sweeper.pruner=\x1b]0;title\x07" in text
    assert [each for each in FORBIDDEN if each in text] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["best"],
        ["show", "study/0"],
        ["show", "study/2"],
        ["compare", "study", "study"],
        ["report"],
        ["sync"],
        ["resume"],
        ["reproduce"],
        ["show", "\x1b]0;title\x07"],
    ],
    ids=" ".join,
)
def test_a_command_shows_it(project, arguments):
    text = printed([sys.executable, "-m", "hrm_sweep", *arguments], project)
    is_the_tasks_own = arguments == ["show", "study/2"]  # of the trial that raised
    assert ("Traceback" in text) == is_the_tasks_own
    assert [each for each in FORBIDDEN if each in text] == []


def test_the_page_of_the_study_shows_it(project):
    page = (project / STUDY / "report.html").read_text()
    assert page.count("<script") == 1  # its own
    assert "&lt;script&gt;" in page
