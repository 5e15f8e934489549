"""Private names of Hydra, read in 1.3.8 and 1.4.0rc3.

tests/unit/compat/test_hydra_canary.py holds each function to what is read here.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hydra
from hydra import utils
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.grammar.functions import Functions
from hydra._internal.utils import get_args_parser, run_and_report
from hydra.core import utils as core_utils
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser import overrides_parser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import InstantiationException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hrm_sweep.compat.omegaconf import copied

VERSION_BASE = {} if hydra.__version__ >= "1.4" else {"version_base": "1.3"}
"""The argument of `hydra.main` and others for the defaults of 1.3; 1.4 has those alone, and warns.
"""

PARSER = "parse_overrides" if hasattr(ConfigLoaderImpl, "parse_overrides") else "load_configuration"
"""The method of Hydra's loader that meets the overrides first; the former since 1.4."""
_RETRIES = "hrm_sweep_retries"
"""Marks the wrapper: Hydra imports plugin modules twice."""


def store_once(group: str, name: str, node: Any) -> None:
    """Register a config of a group, unless the group has one of that name.

    Hydra 1.3 executes the modules of plugins twice, and 1.4 warns of a second registration. What
    another plugin has registered is left as it is.
    """
    store = ConfigStore.instance()
    if store.get_type(f"{group}/{name}.yaml") is ObjectType.NOT_FOUND:
        store.store(group=group, name=name, node=node, provider="hrm_sweep")


def replace_config(group: str, name: str, node: Any) -> None:
    """Register a config of a group in the place of one of that name."""
    store = ConfigStore.instance()
    can_say_so = "replace" in inspect.signature(store.store).parameters  # 1.4 warns otherwise
    said: dict[str, Any] = {"replace": True} if can_say_so else {}
    store.store(group=group, name=name, node=node, provider="hrm_sweep", **said)


def instantiate(config: Any, **arguments: Any) -> Any:
    """Instantiate a config of classes that the user has named.

    1.4 demands a list of the names that may be called. All in the config are on it but those of the
    standard library, with which a config could do anything.

    Args:
        config: A tree of plain values.
        arguments: For its class, and for `hydra.utils.instantiate`.

    Raises:
        InstantiationException: A class is not found or refuses its arguments; its own exception is
            the cause. 1.4 would raise that one.
    """
    if "_execution_whitelist_" in inspect.signature(utils.instantiate).parameters:
        names = [name for name in _targets(config) if _root(name) not in sys.stdlib_module_names]
        arguments["_execution_whitelist_"] = names
    try:
        return utils.instantiate(config, **arguments)
    except InstantiationException:
        raise
    except Exception as error:
        raise InstantiationException(str(error)) from error


def _targets(config: Any) -> Iterator[str]:
    """Yield each `_target_` in a tree of plain values."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield str(config["_target_"])
        yield from chain.from_iterable(map(_targets, config.values()))
    elif isinstance(config, list):
        yield from chain.from_iterable(map(_targets, config))


def _root(name: str) -> str:
    return name.partition(".")[0]


def parse_arguments() -> tuple[argparse.Namespace, list[str]]:
    """Return the arguments of the process as Hydra reads them, and those that it does not know."""
    return get_args_parser().parse_known_args()


def config_flags() -> tuple[str, ...]:
    """Return the flags of this process that say where its configs are, with absolute folders."""
    try:
        arguments = parse_arguments()[0]
    except SystemExit:  # they are those of another program, such as pytest
        return ()
    flags: list[str] = []
    if arguments.config_path:
        flags += ["--config-path", arguments.config_path]  # of the app's own file, if relative
    if arguments.config_dir:
        flags += ["--config-dir", os.path.abspath(arguments.config_dir)]  # noqa: PTH100
    if arguments.config_name:
        flags += ["--config-name", arguments.config_name]
    return tuple(flags)


def output_folder() -> Path | None:
    """Return the output folder of the job that Hydra runs in this process; None: it runs none."""
    return Path(HydraConfig.get().runtime.output_dir) if HydraConfig.initialized() else None


@contextmanager
def active_config(config: DictConfig) -> Iterator[None]:
    """Let `${hydra:…}` read a config in the block, as in its job; 1.4 does so for that of a sweep.

    Not by `set_config`, which copies the config: 5 ms for each job.
    """
    active: Any = HydraConfig.instance()
    before, active.cfg = active.cfg, config
    try:
        yield
    finally:
        active.cfg = before


@contextmanager
def quick_copies() -> Iterator[None]:
    """Let Hydra's `run_job` copy configs by `copied` in the block.

    It makes four copies for each job, by `copy.deepcopy`: 10 ms, as much as a short trial takes.
    """
    module: Any = core_utils
    active: Any = HydraConfig
    before = module.copy, active.set_config
    module.copy, active.set_config = SimpleNamespace(deepcopy=_copied_config), _set_config
    try:
        yield
    finally:
        module.copy, active.set_config = before


def _copied_config(config: DictConfig) -> DictConfig:
    return copied(config, config._get_parent())


def _set_config(active: Any, config: DictConfig) -> None:
    """Do what `HydraConfig.set_config` does."""
    OmegaConf.set_readonly(config.hydra, True)
    node: Any = config._get_node("hydra")
    active.cfg = DictConfig({})
    active.cfg._content["hydra"] = copied(node, config)


def is_main_program() -> bool:
    """Return whether `hydra.main` called this, which reports what is raised and ends the process.

    Otherwise a program did, which expects the exceptions of its own tasks.
    """
    frames = inspect.stack(context=0)
    return any(each.function == run_and_report.__name__ for each in frames)


def element_text(element: Any) -> str:
    """Return an element of a sweep as text in the override grammar, with its quotes."""
    return Override._get_value_element_as_str(element)


def text_override(key: str, text: str) -> str:
    """Return the override that sets a key to a text, quoted where the grammar needs it."""
    if re.fullmatch(r"[\w./+%@:-]+", text, re.ASCII):
        return f"{key}={text}"
    return f"{key}={QuotedString(text, Quote.single).with_quotes()}"


def has_function(name: str) -> bool:
    """Return whether the override grammar of this process knows a function."""
    return name in overrides_parser.create_functions().definitions


def register_functions(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Add functions to the override grammar of this process, except those that it knows.

    Hydra offers no registration: each of its parsers calls `create_functions`, which is wrapped.
    """
    stock = overrides_parser.create_functions
    new = {name: each for name, each in functions.items() if not has_function(name)}
    if not new:
        return

    def create_functions() -> Functions:
        created = stock()
        for name, function in new.items():
            created.register(name, function)
        return created

    overrides_parser.create_functions = create_functions


Repair = Callable[[str, Callable[[], DictConfig]], bool]


def retry_unparsable(is_repaired: Repair) -> None:
    """Let Hydra load a config a second time if an override cannot be parsed and a repair succeeds.

    Configs whose overrides can be parsed are loaded as before. Does nothing when called again.

    Args:
        is_repaired: Attempt to extend the grammar. Is called with the override that cannot be
            parsed and with a function that composes the config without it, and returns whether to
            load again.
    """
    stock = getattr(ConfigLoaderImpl, PARSER)
    if hasattr(stock, _RETRIES):
        return

    def parse_or_load(
        self: ConfigLoaderImpl,
        config_name: str | None,
        overrides: list[str],
        *arguments: Any,
        **options: Any,
    ) -> Any:
        try:
            return stock(self, config_name, overrides, *arguments, **options)
        except OverrideParseException as error:
            others = [override for override in overrides if override != error.override]

            def without_it() -> DictConfig:
                # as for a sweep: others may be swept, and their values are not needed
                return self.load_configuration(config_name, others, RunMode.MULTIRUN, True, False)

            if not is_repaired(error.override, without_it):
                raise
        return stock(self, config_name, overrides, *arguments, **options)

    setattr(parse_or_load, _RETRIES, True)
    setattr(ConfigLoaderImpl, PARSER, parse_or_load)


class ComposeSteps:
    """The two steps of `ConfigLoader.load_sweep_config`, apart: choose groups, then set values."""

    def __init__(self, loader: ConfigLoader, config: DictConfig, overrides: Sequence[str]) -> None:
        assert isinstance(loader, ConfigLoaderImpl)  # the only one that Hydra has
        self._loader = loader
        _, self._repository = loader._parse_overrides_and_create_caching_repo(
            config.hydra.job.config_name, list(overrides)
        )

    def is_group(self, override: Override) -> bool:
        """Return whether an override chooses a config of a group, and does not set a value."""
        is_value = isinstance(override.value(), dict)
        return not is_value and bool(self._repository.group_exists(override.key_or_group))

    def set_values(self, overrides: list[Override], config: DictConfig) -> None:
        """Set the values of a composed config in place."""
        self._loader._apply_overrides_to_config(overrides, config)
