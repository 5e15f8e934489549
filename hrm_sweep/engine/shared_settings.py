"""Settings that a sweep reads once for all of its trials, so that no trial can have its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hrm_sweep.errors import StudyError
from hrm_sweep.runs.configs import to_plain
from hrm_sweep.runs.recipe import flatten

OF_EACH_TRIAL = ("hydra.sweeper.seed", "hydra.launcher.threads")
"""Settings beside which a task has its own: a study may search the seed of a training, whatever
the sampler's is, and the threads that a training sets itself."""

Compose = Callable[[Sequence[str]], DictConfig]


class SharedSettings:
    """The sweep's own settings, to which those in the config of each trial are compared.

    They are whatever feeds `hydra.sweeper`, `hydra.launcher` and the folders, by interpolation too.

    Args:
        config: of the sweep.
    """

    def __init__(self, config: DictConfig) -> None:
        self._dirname = _raw(config.hydra.job).get("override_dirname")
        self._typed = set(_raw(config.hydra.overrides)["task"])  # a trial alone resolves them
        self._own = self._read(config)

    def check(self, overrides: Sequence[str], job: DictConfig, compose: Compose) -> None:
        """Check that a trial has the settings of the sweep.

        Args:
            overrides: of the trial.
            job: the config that is composed of them.

        Raises:
            StudyError: a setting differs; the message names the override that changes it.
        """
        changed = _differences(self._own, self._read(job))
        if changed:
            key, override = self._cause(changed, overrides, compose)
            raise StudyError(
                f"{override}: changes {key.removeprefix('hydra.')} of Hydra's config, which is one "
                "setting for all trials of a study; give it one value for the whole sweep, or make "
                "a study for each value"
            )

    def _cause(
        self, changed: Sequence[str], overrides: Sequence[str], compose: Compose
    ) -> tuple[str, str]:
        """Return a changed setting and the override that alone changes it; all if none does."""
        fixed = [override for override in overrides if override in self._typed]
        others = [override for override in overrides if override not in self._typed]
        without = self._read(compose(fixed))
        for override in others:
            try:
                alone = self._read(compose([*fixed, override]))
            except HydraException:  # it is valid only with another one
                continue
            for key in _differences(without, alone):
                if key in changed:
                    return key, override
        return changed[0], " ".join(others)

    def _read(self, config: DictConfig) -> dict[str, Any]:
        hydra = config.hydra
        with read_write(hydra.job), open_dict(hydra.job):  # its name of the overrides is its own
            hydra.job.override_dirname = self._dirname
        shared = {name: to_plain(hydra[name]) for name in ("sweeper", "launcher")}
        mode = hydra.mode or RunMode.MULTIRUN  # of a job without -m, as Hydra's API starts sweeps
        unresolved = {"run": _raw(hydra.run), "sweep": _raw(hydra.sweep), "mode": mode}
        folder = {"sweep": {"dir": to_plain(hydra.sweep).get("dir")}}
        flat = flatten({"hydra": unresolved}) | flatten({"hydra": shared | folder})
        return {key: value for key, value in flat.items() if key not in OF_EACH_TRIAL}


def _raw(config: DictConfig) -> dict[str, Any]:
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    return {str(key): value for key, value in raw.items()}


def _differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [key for key in one | other if one.get(key) != other.get(key)]
