"""Hydra's own suites for plugins, against our sweeper and our launcher."""

import pytest
import ray
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.version import VersionBase

OURS = "hydra/sweeper=hrm_sweep"
UNTRACKED = [OURS, "hydra.sweeper.tracking.name=off"]

Plugins.instance()  # 1.4 registers their configs once, and its fixture restores what it finds


@pytest.fixture(autouse=True)
def _as_in_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # the tests before may have set a version base; Hydra's suites are about having none
    monkeypatch.delitem(Singleton._instances, VersionBase, raising=False)


@pytest.fixture(scope="module", autouse=True)
def _one_cluster():
    """A cluster that the launcher finds in this process, as starting one takes seconds."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_hydra_finds_our_plugins():
    assert "HrmSweeper" in {found.__name__ for found in Plugins.instance().discover(Sweeper)}
    launchers = {found.__name__ for found in Plugins.instance().discover(Launcher)}
    assert {"PoolLauncher", "RayLauncher"} <= launchers


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [
        pytest.param("pool", ["hydra.launcher.workers=1"], id="pool under Hydra's sweeper"),
        pytest.param("pool", ["hydra.launcher.workers=2", *UNTRACKED], id="pool under ours"),
        pytest.param("ray", [], id="ray under Hydra's sweeper"),
        pytest.param("ray", UNTRACKED, id="ray under ours"),
        pytest.param("basic", UNTRACKED, id="Hydra's launcher under our sweeper"),
        pytest.param("basic", [OURS], id="Hydra's launcher under ours, tracked"),
    ],
)
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [
        pytest.param("pool", [*UNTRACKED, "hydra.sweeper.max_batch_size=2"], id="pool"),
        pytest.param("basic", [*UNTRACKED, "hydra.sweeper.max_batch_size=2"], id="basic"),
    ],
)
class TestBatchedSweeper(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        pytest.param(
            {},
            [
                "-m",
                "hydra/sweeper=hrm_sweep",
                "hydra/launcher=pool",
                "hydra.sweeper.tracking.name=off",
            ],
            id="pool under our sweeper",
        )
    ],
)
class TestIntegration(IntegrationTestSuite):
    pass
