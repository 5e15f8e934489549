"""docs/from_optuna_sweeper.md is true: its app, with its config, runs by its commands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import optuna
from paths import ROOT
from studies import PATIENCE_SECONDS

from hrm_sweep import load_study

PAGE = (ROOT / "docs" / "from_optuna_sweeper.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    return str(found)


def test_the_app_of_the_page_runs_by_its_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("conf").mkdir()
    Path("conf/config.yaml").write_text(block("yaml"))
    Path("app.py").write_text(block("python"))
    for line in block("console").splitlines():
        words = shlex.split(line.removeprefix("$ "))
        assert words[0] == "python"
        done = subprocess.run(
            [sys.executable, *words[1:]],
            capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, line + done.stdout + done.stderr
    storage = "sqlite:///multirun/optuna.db"
    studies = {
        name: optuna.load_study(study_name=name, storage=storage).trials
        for name in optuna.get_all_study_names(storage)
    }
    assert {name: len(trials) for name, trials in studies.items()} == {
        "example": 14,
        "quick": 12,
        "grid": 6,
        "more": 12,
    }
    table = load_study("more").trials
    is_added = table["params.y"] > 0
    assert table["params.z"].notna().tolist() == is_added.tolist()
