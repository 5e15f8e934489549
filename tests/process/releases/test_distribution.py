"""The wheel and the sdist hold all that a user needs, in an environment that has nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from paths import ROOT, TESTS

from hrm_sweep import __version__

DIRECT = {"PYTHONPATH": "", "PYTHONNOUSERSITE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        **{"cwd": cwd, "env": os.environ | DIRECT},
        capture_output=True,
        text=True,
        check=False,
    )


def succeeded(*words: str | Path, cwd: Path) -> str:
    done = run(*words, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    succeeded(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def alone(tmp_path_factory, wheel) -> Path:
    """The Python of an environment with the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("alone")
    succeeded(sys.executable, "-m", "venv", folder, cwd=folder)
    succeeded(folder / "bin/pip", "install", "--quiet", wheel, cwd=folder)
    return folder / "bin/python"


@pytest.fixture(scope="module")
def with_torch(tmp_path_factory, wheel) -> Path:
    """The Python of an environment with the wheel, beside the packages of this one."""
    folder = tmp_path_factory.mktemp("beside")
    succeeded(sys.executable, "-m", "venv", folder, cwd=folder)
    succeeded(folder / "bin/pip", "install", "--quiet", "--no-deps", wheel, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "beside.pth").write_text("\n".join(p for p in sys.path if p.endswith("-packages")))
    return folder / "bin/python"


def test_the_distributions_are_fit_for_an_index(built):
    checked = succeeded(
        sys.executable,
        "-m",
        "twine",
        "--no-color",
        "check",
        "--strict",
        *built.iterdir(),
        cwd=built,
    )
    assert checked.count("PASSED") == 2
    assert {path.name for path in built.iterdir()} == {
        f"hrm_sweep-{__version__}.tar.gz",
        f"hrm_sweep-{__version__}-py3-none-any.whl",
    }


def test_the_sdist_has_the_whole_repository(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    tracked = succeeded("git", "ls-files", cwd=ROOT).splitlines()
    assert {*tracked} <= packed


def test_the_engine_alone_runs_an_app(alone, tmp_path):
    app = TESTS / "apps/parabola.py"
    arguments = ("-m", "+x=1,2", "hydra/sweeper=hrm_sweep", "hydra/launcher=pool")
    printed = succeeded(alone, app, *arguments, "hydra.sweeper.study_name=first", cwd=tmp_path)
    assert "Finished in" in printed
    assert "2 complete" in printed
    assert "first" in succeeded(alone.with_name("hrm-sweep"), "list", cwd=tmp_path)


def test_init_writes_its_app_from_the_wheel(alone, tmp_path):
    succeeded(alone, "-m", "hrm_sweep", "init", "mine", cwd=tmp_path)
    assert "learning rate" in succeeded(alone, "app.py", "--help", cwd=tmp_path / "mine")
    succeeded(alone, "app.py", cwd=tmp_path / "mine")


def test_the_engine_alone_says_what_the_shipped_app_needs(alone, tmp_path):
    for arguments in ((), ("-m", "lr=1e-4,1e-3")):
        done = run(alone, "-m", "hrm_sweep", *arguments, cwd=tmp_path)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert "pip install 'hrm-sweep[hrm]'" in line
    assert not list(tmp_path.iterdir())


def test_the_shipped_app_runs_from_the_wheel(with_torch, tmp_path):
    where = "import hrm_sweep; print(hrm_sweep.__file__)"
    assert succeeded(with_torch, "-c", where, cwd=tmp_path).startswith(str(with_torch.parents[1]))
    small = ("trainer=smoke", "hidden_dim=32", "data.num_puzzles=8", "data.num_eval_puzzles=8")
    printed = succeeded(
        with_torch,
        "-m",
        "hrm_sweep",
        "-m",
        "lr=1e-3,5e-3",
        "trainer.compile=on",
        *small,
        cwd=tmp_path,
    )
    assert "2 complete" in printed
    assert succeeded(with_torch.with_name("hrm-sweep"), "--version", cwd=tmp_path).startswith(
        f"hrm_sweep {__version__}"
    )
