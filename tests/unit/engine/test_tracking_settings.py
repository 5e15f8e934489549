"""Where a study is exported to, as its settings and the environment say."""

import hydra
import pytest

from hrm_sweep.compat.hydra import VERSION_BASE
from hrm_sweep.engine.plugin_config import SweeperConfig
from hrm_sweep.hrm import config


@pytest.mark.parametrize(
    ("tracking", "variable", "expected"),
    [
        pytest.param({"experiment": None}, "", "hrm_sweep", id="nothing is said"),
        pytest.param({"experiment": None}, "theirs", "theirs", id="the environment"),
        pytest.param({"name": "mlflow"}, "theirs", "theirs", id="a part is said"),
        pytest.param({"experiment": "typed"}, "theirs", "typed", id="the key has precedence"),
        pytest.param("mlflow", "theirs", "theirs", id="a name alone"),
    ],
)
def test_the_experiment_is_the_one_of_the_key_or_of_the_environment(
    tracking, variable, expected, monkeypatch
):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", variable)
    assert SweeperConfig(tracking=tracking).experiment == expected


@pytest.mark.parametrize("option", ["mlflow", "off"])
def test_the_shipped_app_reads_the_same_variable(option, monkeypatch):
    config.register_resolvers()
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    with hydra.initialize_config_dir(str(config.CONF), **VERSION_BASE):
        composed = hydra.compose("config", [f"tracking={option}"])
        assert composed.tracking.experiment == "theirs"
        typed = hydra.compose("config", [f"tracking={option}", "tracking.experiment=typed"])
        assert typed.tracking.experiment == "typed"
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    with hydra.initialize_config_dir(str(config.CONF), **VERSION_BASE):
        assert hydra.compose("config", []).tracking.experiment == "hrm_sweep"
