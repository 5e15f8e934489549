"""docs/any_app.md is true: its apps run as they are printed, alone and in studies."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from studies import PATIENCE_SECONDS, Sweep, until, written

PAGE = (ROOT / "docs" / "any_app.md").read_text(encoding="utf-8")
APPS = dict(re.findall(r"^<!-- app (\S+) -->\n```python\n(.*?)^```", PAGE, re.M | re.S))
LINES = re.findall(r"^\$ (python (\S+\.py).*)$", PAGE, re.M)
COMMANDS = [line for line, app in LINES if app in APPS]
LIGHTNING = "line.py"
UNTRACKED = "hydra.sweeper.tracking.name=off"

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def words(line: str) -> list[str]:
    """The words of a printed command, with this interpreter, and what makes its study cheap."""
    program, *rest = shlex.split(line)
    assert program == "python"
    return [sys.executable, *rest, *([UNTRACKED] if "-m" in rest else [])]


def run(typed: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        typed, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


@pytest.fixture(autouse=True)
def _apps(in_a_folder_of_its_own):
    for name, text in APPS.items():
        Path(name).write_text(text)


def test_the_page_has_its_apps():
    assert APPS.keys() == {"returns.py", "resumes.py", "line.py"}
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, marks=pytest.mark.slow if LIGHTNING in line else ()) for line in COMMANDS],
)
def test_a_command_runs(line):
    if LIGHTNING in line:
        pytest.importorskip("lightning")
    done = run(words(line))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed" not in done.stdout


def test_an_app_that_is_killed_continues_from_its_checkpoint_and_writes_no_step_twice():
    (line,) = [line for line in COMMANDS if "study_name=mine" in line]
    interval = next(word for word in shlex.split(line) if word.startswith("+lr="))
    typed = [word for word in words(line) if word != interval]
    typed += ["+lr=0.001,0.002", "+steps=1000", "hydra.sweep.dir=study"]
    checkpoint = Path("study/0/checkpoint.json")
    sweep = Sweep(typed, Path("log"))
    try:
        until(lambda: checkpoint.exists() and json.loads(checkpoint.read_text())["step"] > 5)
    finally:
        sweep.kill()
    done = run(typed)
    assert done.returncode == 0, done.stderr
    assert "2 complete" in done.stdout
    events = [entry.event for entry in written(checkpoint.parent)]
    assert events.count("started") == 2
    assert "rewound" not in events
    measured = [each for each in written(checkpoint.parent) if each.event == "metrics"]
    assert [each.fields["step"] for each in measured] == [*range(1, 1001)]
