"""Samplers and pruners made from their configs, with errors that name the key at fault."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from hrm_sweep.compat.hydra import instantiate
from hrm_sweep.errors import ConfigError, StudyError
from hrm_sweep.formatting import did_you_mean

Config = Mapping[str, Any]
GONE = {"MOTPESampler": ("motpe", "hydra/sweeper/sampler=tpe, for several objectives too")}
"""Classes that Optuna had: the option that stood for each, and what to take instead."""


def part_config(part: str, config: Any) -> Config | None:
    """Return the config of a sampler or pruner as a plain dict.

    Args:
        part: "sampler" or "pruner".
        config: `hydra.sweeper.<part>`, a mapping with `_target_`; None: no such part.

    Raises:
        StudyError: it is a plain name, which belongs to the config group, or Optuna has the class
            no longer.
        ConfigError: there is no such class, or a key is none of its arguments.
    """
    if isinstance(config, str):
        raise StudyError(
            f"hydra.sweeper.{part}={config}: is chosen by hydra/sweeper/{part}={config}"
        )
    if OmegaConf.is_config(config):
        config = OmegaConf.to_container(config, resolve=True)
    if config is not None:
        _check(part, f"hydra.sweeper.{part}", config)
    checked: Config | None = config
    return checked


def resolve(path: str) -> Any:
    """Return what a dotted path names.

    Raises:
        ImportError, AttributeError: there is no such thing; or whatever a module raises.
    """
    try:
        return resolve_name(path)
    except ValueError:  # no Python names: an app's file may be called my-app.py
        module, _, name = path.rpartition(".")
        return getattr(import_module(module), name)


def imported(key: str, path: str) -> Any:
    """Return what a dotted path in the config names.

    Args:
        key: that has the path.

    Raises:
        ConfigError: it cannot be imported, whatever its module raises.
    """
    try:
        return resolve(path)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(key, path, f"cannot be imported: {reason}") from error


def class_name(config: Config | None) -> str:
    """Return the name of the class that a config stands for; "" for none."""
    return str((config or {}).get("_target_", "")).rpartition(".")[2]


def takes(config: Config, argument: str) -> bool:
    """Return whether the class of a config has an argument of that name."""
    parameters = _parameters(config)
    return argument in parameters or any(
        each.kind is each.VAR_KEYWORD for each in parameters.values()
    )


def instantiate_part(part: str, config: Config | None, **arguments: Any) -> Any:
    """Return the sampler or pruner of a `part_config`, None for None.

    Raises:
        StudyError: its class refuses an argument; the message has its reason.
    """
    with warnings.catch_warnings():  # the user asked for an experimental class by its name
        warnings.filterwarnings("ignore", r"\w+ is experimental")
        try:
            return instantiate(config, _convert_="all", **arguments)
        except InstantiationException as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise StudyError(f"hydra.sweeper.{part}: {class_name(config)}: {reason}") from error


def _check(part: str, key: str, config: Config) -> None:
    """Check the class of a config and the names of its arguments, in nested ones too."""
    name, target = class_name(config), config.get("_target_")
    if name in GONE:
        option, way_out = GONE[name]
        raise StudyError(f"hydra/sweeper/{part}={option}: Optuna has no {name} now; take {way_out}")
    try:
        resolve(str(target))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{key}._target_", target, str(error)) from error
    for argument, value in config.items():
        if not (argument.startswith("_") or takes(config, argument)):
            known = _parameters(config)
            hint = did_you_mean(argument, known) or f"it has {', '.join(known) or 'none'}"
            raise ConfigError(f"{key}.{argument}", value, f"{name} has no such argument", hint)
        if isinstance(value, Mapping) and "_target_" in value:
            _check(part, f"{key}.{argument}", value)


def _parameters(config: Config) -> Mapping[str, inspect.Parameter]:
    """Return the arguments of the class or function that a config names."""
    return inspect.signature(resolve(str(config["_target_"]))).parameters
