"""Two products in one package: the engine runs where the app and PyTorch do not exist."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from studies import PATIENCE_SECONDS

WITHOUT_THE_APP = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" or name == "hrm_sweep.hrm" or name.startswith("hrm_sweep.hrm."):
            raise ModuleNotFoundError(f"the engine asked for {name}")

sys.meta_path.insert(0, Absent())
"""
"""Python imports a module of the name sitecustomize first, in child processes too."""

APP = """
import hydra
from hrm_sweep import trial

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    for step in (1, 2, 3):
        trial.current().log({"height": cfg.x**2 + 1 / step}, step=step)
    return float(cfg.x**2)

if __name__ == "__main__":
    main()
"""

COMMAND = """
import sys
from hrm_sweep.commands import COMMANDS

command = COMMANDS[sys.argv[1]]
command.run(command.parse(sys.argv[2:]))
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, without the app and without PyTorch."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "without")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a tracked, finished study of an app that is not ours."""
    folder = tmp_path_factory.mktemp("border")
    (folder / "without").mkdir()
    (folder / "without" / "sitecustomize.py").write_text(WITHOUT_THE_APP)
    (folder / "app.py").write_text(APP)
    done = run(
        folder,
        *("app.py", "-m", "hydra/sweeper=hrm_sweep", "hydra/launcher=pool"),
        *("hydra.sweeper.objective=height", "hydra.sweeper.study_name=border"),
        *("hydra.sweep.dir=multirun/border", "+x=2,1,3"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Finished in" in done.stdout
    return folder


def test_the_app_cannot_be_imported_here(folder):
    assert "the engine asked for torch" in run(folder, "-c", "import torch").stderr
    assert "the engine asked for hrm_sweep.hrm" in run(folder, "-c", "import hrm_sweep.hrm").stderr


def test_a_study_has_its_report(folder):
    assert (folder / "multirun/border/report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        pytest.param(["list"], "border", id="list"),
        pytest.param(["best", "border"], "trial 1", id="best"),
        pytest.param(["show", "border/1"], "height", id="show"),
        pytest.param(["report", "border"], "report.html", id="report"),
        pytest.param(["export", "border"], "trials.csv", id="export"),
        pytest.param(["sync", "border"], "everything is in MLflow", id="sync"),
    ],
)
def test_a_command_works(arguments, printed, folder):
    done = run(folder, "-c", COMMAND, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert printed.lower() in done.stdout.lower()


def test_its_best_trial_comes_out_again(folder):
    done = run(folder, "-c", COMMAND, "reproduce", "border", "--yes")
    assert "values are identical, bit for bit" in done.stdout, done.stdout + done.stderr


NOT_INSTALLED = """
from importlib.machinery import PathFinder

found = PathFinder.find_spec

def find_spec(name, path=None, target=None):
    missing = name.partition(".")[0] in ("torch", "platformdirs")
    return None if missing else found(name, path, target)

PathFinder.find_spec = find_spec
"""


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="single run"),
        pytest.param(["-m", "lr=1e-3,1e-4"], id="study"),
        pytest.param(["-m", "lr=1e-3,1e-4", "study.dry_run=true"], id="dry run"),
    ],
)
def test_the_app_says_what_to_install_where_pytorch_is_not(tmp_path, arguments):
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(NOT_INSTALLED)
    done = run(tmp_path, "-m", "hrm_sweep", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "the HRM app trains with PyTorch, which is not installed; run: "
        "pip install 'hrm-sweep[hrm]'\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["without"]
    assert run(tmp_path, "-m", "hrm_sweep", "--help").returncode == 0
