"""Our composer against Hydra's own, on the shipped app's config and every kind of override."""

from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from paths import ROOT

from hrm_sweep.hrm import config
from hrm_sweep.launch.compose import ComposedJob, Composer

CONF = ROOT / "conf"


@pytest.fixture(scope="module")
def loader() -> ConfigLoaderImpl:
    setup_globals()
    config.register_resolvers()
    return ConfigLoaderImpl(create_config_search_path(str(CONF)))


@pytest.fixture(scope="module")
def master(loader):
    typed = [
        "hydra.job.name=other",
        "hydra.job.config.override_dirname.exclude_keys=[seed]",
        "seed=3",
    ]
    made = loader.load_configuration("config", typed, RunMode.MULTIRUN)
    assert made.study.name  # a name is made once, and the jobs get it
    return made


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param([], id="nothing"),
        pytest.param(["lr=1e-4", "seed=1"], id="values"),
        pytest.param(["model=trm", "lr=1e-4", "model.L_cycles=3"], id="a group, then values in it"),
        pytest.param(["model.L_cycles=3", "model=trm"], id="a value before its group"),
        pytest.param(["study/pruner=median", "study/sampler=random"], id="nested groups"),
        pytest.param(["experiment=copy_increment", "lr=5e-4"], id="a recipe"),
        pytest.param(["+more=1", "++lr=2e-4", "+tree.of={a: 1, b: [1, 2]}"], id="added"),
        pytest.param(["~optimizer.beta2", "~study.dry_run"], id="deleted"),
        pytest.param(["optimizer.lr=${lr}", "study.name=x${seed}"], id="interpolations"),
        pytest.param(["hidden_dim='64'", "study.name='a b'"], id="quoted"),
    ],
)
def test_it_composes_as_hydra_does(loader, master, overrides):
    compose = Composer(loader, master)
    expected = loader.load_sweep_config(master, overrides)
    for _ in range(2):  # the second time from what was kept
        composed = compose(overrides)
        assert OmegaConf.to_yaml(composed) == OmegaConf.to_yaml(expected)
        assert composed == expected
        assert OmegaConf.is_struct(composed) == OmegaConf.is_struct(expected)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["nosuch=1"], id="no such key"),
        pytest.param(["model=nosuch"], id="no such option"),
        pytest.param(["+lr=1"], id="there already"),
    ],
)
def test_it_refuses_what_hydra_refuses_in_the_same_words(loader, master, overrides):
    with pytest.raises(HydraException) as hydras:
        loader.load_sweep_config(master, overrides)
    with pytest.raises(HydraException) as ours:
        Composer(loader, master)(overrides)
    assert str(ours.value) == str(hydras.value)


def test_jobs_do_not_share_what_they_change(loader, master):
    compose = Composer(loader, master)
    compose([]).lr = 7.0
    assert compose([]).lr == loader.load_sweep_config(master, []).lr


@pytest.mark.parametrize("is_there", [True, False], ids=["a shared disk", "a node's own disk"])
def test_a_job_that_was_composed_elsewhere_has_folders_that_are_there(tmp_path, is_there):
    cwd = tmp_path if is_there else tmp_path / "driver"
    config = OmegaConf.create(
        {"x": 1, "hydra": {"sweep": {"dir": "multirun/a"}, "runtime": {"cwd": str(cwd)}}}
    )
    OmegaConf.set_struct(config, True)
    here = ComposedJob.of(config, "/scratch").config()
    assert here.hydra.sweep.dir == "/scratch"
    assert here.hydra.runtime.cwd == str(cwd if is_there else Path.cwd())
    assert here.x == 1


def test_a_composed_job_runs_where_its_working_folder_is_gone(tmp_path, monkeypatch):
    scratch, gone = tmp_path / "scratch", tmp_path / "gone"
    scratch.mkdir()
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    config = OmegaConf.create({"hydra": {"sweep": {"dir": "/home"}, "runtime": {"cwd": "/none"}}})
    placed = ComposedJob.of(config, str(scratch)).config()
    assert placed.hydra.sweep.dir == placed.hydra.runtime.cwd == str(scratch)
    assert Path.cwd() == scratch
