"""Commands that this process suggests to the user."""

import sys
from types import SimpleNamespace

import pytest

from hrm_sweep.system import process


@pytest.mark.parametrize(
    ("module", "argv", "shell", "own"),
    [
        pytest.param(
            "hrm_sweep.__main__", "-", "python -m hrm_sweep", "python -m hrm_sweep", id="module"
        ),
        pytest.param(None, "hrm-sweep", "hrm-sweep", "hrm-sweep", id="console script"),
        pytest.param(None, "my app.py", "python 'my app.py'", "python -m hrm_sweep", id="an app"),
    ],
)
def test_a_suggested_command_begins_as_the_user_began(
    module, argv, shell, own, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "hrm-sweep"
    script.touch(mode=0o755)
    spec = SimpleNamespace(name=module) if module else None
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    monkeypatch.setattr(sys, "argv", [str(script) if argv == script.name else argv])
    assert process.shell_command() == shell
    assert process.hrm_sweep_command() == own


def test_a_suggested_command_is_quoted_for_the_shell():
    command = process.hrm_sweep_command("resume", "multirun/train/two words")
    assert command.endswith(" resume 'multirun/train/two words'")


def test_threads_that_wait_sleep_unless_the_user_has_it_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert process.thread_variables(2)["OMP_WAIT_POLICY"] == "passive"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert process.thread_variables(2)["OMP_WAIT_POLICY"] == "active"
