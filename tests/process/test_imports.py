"""What stays unloaded, so that help, completion and small commands answer at once."""

import os
import subprocess
import sys

import pytest
from paths import TESTS

HEAVY = {"torch", "mlflow", "optuna", "matplotlib", "numpy", "pandas", "sqlalchemy"}
STEP = (
    "import test_optim as t; model = t.build(); t.backward(model);"
    "t.OptimizerStep(model, t.FlatParams(model, t.torch.float32), t.adamw_config()).step(0.5)"
)


def loaded(program: str) -> set[str]:
    """Return the names of the modules that a process has loaded after the program."""
    folders = (str(TESTS), str(TESTS / "unit" / "hrm" / "training"))
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
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
        pytest.param(STEP, {"torch._dynamo"}, id="a step of the optimizer"),
    ],
)
def test_importing_loads_nothing_heavy(program, unloaded):
    assert not unloaded & loaded(program)
