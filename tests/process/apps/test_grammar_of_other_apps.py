"""Grammar functions in Hydra apps that have the package installed: only our sweeps get ours."""

import subprocess
import sys
from pathlib import Path

import pytest

APP = """
import hydra

@hydra.main(config_path=".", config_name="config", version_base="1.3")
def task(cfg):
    print("x is", cfg.x)
    return 0.0

task()
"""
OURS = """
defaults:
  - override hydra/sweeper: hrm_sweep
  - _self_
x: 0
hydra:
  sweeper: {study_name: study, objective: objective, tracking: {name: "off"}}
"""


@pytest.fixture
def app(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.py").write_text(APP)
    Path("config.yaml").write_text("x: 0")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "app.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("text", ["zip(1,2)", "logrange(1,10,2)"])
@pytest.mark.parametrize("flags", [(), ("-m",)], ids=["run", "multirun"])
def test_another_app_has_the_grammar_of_stock_hydra(app, flags, text):
    done = app(*flags, f"x={text}")
    assert done.returncode == 1
    assert f"Unknown function '{text.partition('(')[0]}'" in done.stderr
    (known,) = [line for line in done.stderr.splitlines() if line.startswith("Available: ")]
    assert not {"zip", "logrange"} & set(known.removeprefix("Available: ").split(","))


def test_another_app_sweeps_as_ever(app):
    done = app("-m", "x=range(1,3)")
    assert done.returncode == 0, done.stderr
    assert "x is 1\n" in done.stdout
    assert "x is 2\n" in done.stdout


@pytest.mark.parametrize("where", ["command line", "config"])
def test_an_app_with_our_sweeper_has_our_functions(app, where):
    flags = ["-m", "hydra/sweeper=hrm_sweep", "hydra.sweeper.tracking.name=off"]
    if where == "config":
        Path("config.yaml").write_text(OURS)
        flags = ["-m"]
    done = app(*flags, "x=zip(1,2)", "+y=logrange(1,100,3)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("x is 1") == done.stdout.count("x is 2") == 3
