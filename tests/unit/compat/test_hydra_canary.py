"""Canaries of the private names of Hydra that compat/hydra.py uses.

The steps of a composition are compared with Hydra's own result in launch/test_compose.py.
"""

import contextlib
import pickle
import sys
import warnings

import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, run_and_report
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser import overrides_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.singleton import Singleton
from hydra.core.utils import run_job, setup_globals
from hydra.errors import InstantiationException, OverrideParseException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from hrm_sweep.compat import hydra as compat


@pytest.fixture
def loader(tmp_path, monkeypatch) -> ConfigLoaderImpl:
    """Hydra's loader on a folder with an empty config, in a process whose grammar is Hydra's."""
    monkeypatch.setattr(overrides_parser, "create_functions", stock("create_functions"))
    monkeypatch.setattr(ConfigLoaderImpl, compat.PARSER, stock(compat.PARSER))
    setup_globals()
    (tmp_path / "config.yaml").write_text("{}")
    return ConfigLoaderImpl(create_config_search_path(str(tmp_path)))


def stock(name: str):
    """Return a function of Hydra without the wrappers that this process has around it."""
    function = getattr(overrides_parser, name, None) or getattr(ConfigLoaderImpl, name)
    while not function.__module__.startswith("hydra."):
        cells = dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))
        function = cells["stock"].cell_contents
    return function


def test_a_config_is_registered_once_and_that_of_another_plugin_stays(monkeypatch):
    store = ConfigStore()
    monkeypatch.setitem(Singleton._instances, ConfigStore, store)
    store.store("theirs", {"value": 0}, group="hydra/sweeper/sampler", provider="theirs")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Hydra 1.4 warns of a second registration
        for value in (1, 2):
            compat.store_once("hydra/sweeper/sampler", "ours", {"value": value})
            compat.store_once("hydra/sweeper/sampler", "theirs", {"value": value})
    found = [store.load(f"hydra/sweeper/sampler/{name}.yaml") for name in ("ours", "theirs")]
    assert [(each.provider, each.node.value) for each in found] == [("hrm_sweep", 1), ("theirs", 0)]


def test_arguments_are_split_into_known_and_unknown(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["app", "-m", "--nonsense", "a=1"])
    known, unknown = compat.parse_arguments()
    assert (known.multirun, known.overrides, unknown) == (True, ["a=1"], ["--nonsense"])


def test_elements_keep_their_quotes():
    sweep = OverridesParser.create().parse_override("a=1,'x y',[1,b],null").value()
    assert [compat.element_text(each) for each in sweep.list] == ["1", "'x y'", "[1,b]", "null"]


def double(value: int) -> int:
    return 2 * value


def test_a_registered_function_is_known_to_new_parsers(loader):
    assert not compat.has_function("double")
    compat.register_functions({"double": double})
    compat.register_functions({"double": double})
    assert compat.has_function("double")
    assert OverridesParser.create().parse_override("a=double(4)").value() == 8


def test_an_override_that_cannot_be_parsed_is_tried_again_after_a_repair(loader):
    asked = []

    def repair(override, compose):
        asked.append((override, compose().b))
        compat.register_functions({"double": double})
        return True

    compat.retry_unparsable(repair)
    cfg = loader.load_configuration("config", ["+a=double(2)", "+b=3"], RunMode.RUN)
    assert (cfg.a, cfg.b, asked) == (4, 3, [("+a=double(2)", 3)])


def test_without_a_repair_the_error_is_that_of_hydra(loader):
    compat.retry_unparsable(lambda *_: False)
    with pytest.raises(OverrideParseException, match="Unknown function 'double'"):
        loader.load_configuration("config", ["+a=double(2)"], RunMode.RUN)


class Own:
    """A class of an app."""

    def __init__(self, inner: object) -> None:
        self.inner = inner


def test_classes_of_apps_and_packages_are_instantiated_without_a_warning(monkeypatch):
    monkeypatch.setenv("HYDRA_DEPRECATION_WARNINGS_AS_ERRORS", "1")
    config = {
        "_target_": f"{__name__}.Own",
        "inner": [{"_target_": "optuna.pruners.MedianPruner"}],
    }
    made = compat.instantiate(config)
    assert type(made).__name__ == "Own"
    assert type(made.inner[0]).__name__ == "MedianPruner"


def test_what_a_class_refuses_is_the_cause():
    with pytest.raises(InstantiationException) as raised:
        compat.instantiate({"_target_": "optuna.pruners.ThresholdPruner"})
    assert str(raised.value.__cause__) == "Either lower or upper must be specified."


def test_what_a_config_must_not_call_is_refused(tmp_path):
    victim = tmp_path / "victim"
    victim.touch()
    with pytest.raises(InstantiationException):
        compat.instantiate({"_target_": "os.remove", "path": str(victim)})
    assert victim.exists()


def test_a_program_that_calls_hydra_is_told_from_hydra_main():
    assert not compat.is_main_program()
    assert run_and_report(compat.is_main_program)


def test_a_job_with_quick_copies_is_the_same_job(loader, tmp_path):
    def task(config):
        active = HydraConfig.instance().cfg
        return active.hydra.runtime.output_dir, OmegaConf.is_readonly(active.hydra), config.there

    def done(copies):
        config = loader.load_configuration("config", ["+a=1", "+there=${a}"], RunMode.RUN)
        config.hydra.run.dir, config.hydra.job.chdir = str(tmp_path / "run"), False
        with copies:
            job = run_job(task, config, "hydra.run.dir", None, context)
            assert HydraConfig.instance().cfg is None
        return pickle.loads(pickle.dumps(job))

    context = HydraContext(config_loader=loader, callbacks=Callbacks())
    stock, quick = done(contextlib.nullcontext()), done(compat.quick_copies())
    assert quick == stock
    assert type(quick.cfg) is type(quick.hydra_cfg) is DictConfig
    assert quick.return_value == (str(tmp_path / "run"), True, 1)
