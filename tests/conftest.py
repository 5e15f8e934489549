import subprocess
import sys
from pathlib import Path

import pytest

APP = Path(__file__).parent / "apps" / "parabola.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        action="append",
        default=[],
        metavar="PATH",
        help="further files of figures of the published HRM code, for test_parity",
    )


def parabola(folder: Path, name: str, *overrides: str) -> str:
    """Runs an untracked study of the parabola in `folder`; what it printed."""
    flags = [
        *("-m", "hydra/sweeper=hrm_sweep", "hydra/launcher=pool"),
        *(f"hydra.sweep.dir=multirun/{name}", f"hydra.sweeper.study_name={name}"),
        "hydra.sweeper.tracking.name=off",
    ]
    done = subprocess.run(
        [sys.executable, str(APP), *flags, *overrides],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def studies_folder(tmp_path_factory) -> Path:
    """A folder with two finished studies of the parabola; tests read it and leave it as it is.

    `grid` has six trials, of which three raise; `repeated` two, with three seeds each, and is the
    newer one.
    """
    folder = tmp_path_factory.mktemp("studies")
    parabola(folder, "grid", "+x=3,1,2", "+end=well,raise")
    parabola(folder, "repeated", "+x=1,4", "+seed=0", "+noise=0.5", "hydra.sweeper.repeats=3")
    return folder


@pytest.fixture
def in_studies_folder(studies_folder, monkeypatch) -> Path:
    monkeypatch.chdir(studies_folder)
    return studies_folder
