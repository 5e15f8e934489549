"""A job's config as Hydra composes it, and much faster for jobs that differ in values alone."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hrm_sweep.compat.hydra import ComposeSteps, active_config
from hrm_sweep.runs.configs import typed_overrides


class Composer:
    """Does what `ConfigLoader.load_sweep_config` does, with the same result.

    Hydra reads all files, builds the defaults list and merges it for each job, a tenth of a second
    each time; only then it sets the values that were typed. What comes before depends on the chosen
    groups alone, so it is kept for each choice of groups, and the values are set by Hydra's own
    function. A test holds this to Hydra's result.
    """

    def __init__(self, loader: ConfigLoader, config: DictConfig) -> None:
        self._loader, self._config = loader, config
        self._parser = OverridesParser.create(config_loader=loader)
        self._kept: dict[tuple[str, ...], bytes] = {}
        self._steps = ComposeSteps(loader, config, typed_overrides(config.hydra, "hydra"))

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """Return the config of the job with these task overrides.

        Raises:
            HydraException: it cannot be composed.
        """
        parsed = self._parser.parse_overrides(list(overrides))
        groups = [override for override in parsed if self._steps.is_group(override)]
        values = [override for override in parsed if not self._steps.is_group(override)]
        composed = self._without_values([str(override.input_line) for override in groups])
        self._steps.set_values(values, composed)
        composed.hydra.overrides.task = [override.input_line for override in parsed]
        if not OmegaConf.is_interpolation(composed.hydra.job, "override_dirname"):  # as in 1.4
            composed.hydra.job.override_dirname = _dirname(composed, parsed)
        OmegaConf.copy_cache(from_config=self._config, to_config=composed)
        return composed

    def _without_values(self, groups: list[str]) -> DictConfig:
        key = tuple(groups)
        if key not in self._kept:
            composed = self._loader.load_sweep_config(self._config, groups)
            self._kept[key] = cloudpickle.dumps(composed)
        kept: DictConfig = pickle.loads(self._kept[key])  # three times as fast as copy.deepcopy
        return kept


@dataclass(frozen=True)
class ComposedJob:
    """A job whose config was composed elsewhere, for a place that has not the study's folder."""

    packed: bytes
    """The config, pickled."""
    sweep_dir: str
    """Stands there for the study's folder."""

    @classmethod
    def of(cls, config: DictConfig, sweep_dir: str) -> ComposedJob:
        """Return the job of a config."""
        return cls(cloudpickle.dumps(config), sweep_dir)

    def bring_home(self, done: JobReturn) -> None:
        """Let a result name the folders where the study is."""
        config: DictConfig = pickle.loads(self.packed)
        done.working_dir = str(folder_of(config))
        assert done.hydra_cfg is not None
        with read_write(done.hydra_cfg.hydra), open_dict(done.hydra_cfg.hydra):
            done.hydra_cfg.hydra.sweep.dir = str(config.hydra.sweep.dir)
            done.hydra_cfg.hydra.runtime.output_dir = done.working_dir

    def config(self) -> DictConfig:
        """Return the config, in the place.

        If the working folder of the sweep is not there, either, that of this process stands for it.
        """
        config: DictConfig = pickle.loads(self.packed)
        with suppress(FileNotFoundError):
            return self._placed(config)
        os.chdir(self.sweep_dir)  # Ray may unpack the working folder of its tasks anew
        return self._placed(config)

    def _placed(self, config: DictConfig) -> DictConfig:
        here = str(Path.cwd())
        with open_dict(config.hydra):
            config.hydra.sweep.dir = self.sweep_dir
            if not Path(str(config.hydra.runtime.cwd)).is_dir():
                config.hydra.runtime.cwd = here
        return config


def set_number(config: DictConfig, number: int) -> None:
    """Set the number of a job in its composed config."""
    with open_dict(config):
        config.hydra.job.id = str(number)
        config.hydra.job.num = number


def folder_of(config: DictConfig) -> Path:
    """Return the folder that Hydra gives a job."""
    with active_config(config):
        return Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir))


def _dirname(config: DictConfig, overrides: Sequence[Override]) -> str:
    """Return Hydra's name for a folder after the overrides of its job."""
    how = config.hydra.job.config.override_dirname
    named = [override for override in overrides if override.key_or_group not in how.exclude_keys]
    lines = sorted(str(override.input_line) for override in named)
    return str(how.item_sep.join(lines).replace("=", how.kv_sep))
