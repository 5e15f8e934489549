"""What a worker does before its first job comes."""

import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.utils import setup_globals
from hydra.types import HydraContext, RunMode
from paths import ROOT

from hrm_sweep.hrm import config
from hrm_sweep.launch.worker import Runner, packed_job


class Task:
    """A task function whose study has fixed overrides."""

    def __init__(self, *fixed: str) -> None:
        self.fixed = fixed

    def __call__(self, cfg) -> None:
        pass


@pytest.fixture
def runner_for():
    setup_globals()
    config.register_resolvers()
    loader = ConfigLoaderImpl(create_config_search_path(str(ROOT / "conf")))
    hydra = HydraContext(config_loader=loader, callbacks=Callbacks())
    sweep = loader.load_configuration("config", [], RunMode.MULTIRUN)
    return lambda task: Runner(packed_job((), hydra, sweep, task))


@pytest.mark.parametrize(
    ("fixed", "first_job"),
    [
        pytest.param(["seed=3"], ["seed=3", "lr=1e-4"], id="values alone"),
        pytest.param(["model=trm"], ["model=trm", "lr=1e-4"], id="a group for all jobs"),
    ],
)
def test_what_is_composed_ahead_spares_the_first_job_hydras_files(
    runner_for, monkeypatch, fixed, first_job
):
    runner, loads = runner_for(Task(*fixed)), []
    load = ConfigLoaderImpl.load_sweep_config
    monkeypatch.setattr(
        ConfigLoaderImpl,
        "load_sweep_config",
        lambda self, sweep, overrides: loads.append(overrides) or load(self, sweep, overrides),
    )
    runner.compose_ahead()
    assert len(loads) == 1
    assert runner._compose(first_job).lr == 1e-4
    assert len(loads) == 1


def test_a_worker_lives_on_where_the_sweep_will_refuse_what_was_typed(runner_for):
    runner_for(Task("model=nowhere")).compose_ahead()
    runner_for(print).compose_ahead()  # another sweeper's task
