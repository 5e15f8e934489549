"""What stays unloaded, so that help, completion and small commands answer at once."""

import os
import subprocess
import sys

import pytest
from paths import TESTS

from hrm_sweep.hrm.backends import toolchain

HEAVY = {"torch", "mlflow", "optuna", "matplotlib", "numpy", "pandas", "sqlalchemy"}
EPOCH = "import trainings; next(trainings.build(epochs=1, compile={!r}).epochs())"


def loaded(program: str) -> set[str]:
    """Return the names of the modules that a process has loaded after the program."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("program", "unloaded"),
    [
        pytest.param("import hrm_sweep.cli", HEAVY, id="the command line"),
        pytest.param(
            "import hydra_plugins.hrm_sweep_plugins.sweeper;"
            "import hydra_plugins.hrm_sweep_plugins.launcher",
            HEAVY,
            id="the plugins",
        ),
        pytest.param("import hrm_sweep; hrm_sweep.__all__", HEAVY, id="the package"),
        pytest.param("import hrm_sweep.hrm.config", {"torch"}, id="the config"),
        pytest.param("import hrm_sweep.hrm.data.configs", HEAVY, id="the configs of the data sets"),
        pytest.param(
            "import hrm_sweep.hrm.pictures.training",
            {"torch", "matplotlib.pyplot"},
            id="the pictures",
        ),
        pytest.param("import hrm_sweep.tracking.exporter_process", HEAVY, id="the exporter"),
        pytest.param(EPOCH.format("off"), {"torch._dynamo", "sympy"}, id="a training"),
        pytest.param(
            EPOCH.format("on"),
            {"torch._dynamo", "sympy"},
            marks=pytest.mark.skipif(toolchain.missing() is not None, reason="no C++ compiler"),
            id="a compiled training",
        ),
    ],
)
def test_importing_loads_nothing_heavy(program, unloaded):
    assert not unloaded & loaded(program)
