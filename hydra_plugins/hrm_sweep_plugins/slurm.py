"""`hydra/launcher=slurm`: a job in the queue of Slurm for each trial."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hrm_sweep.compat.hydra import store_once
from hrm_sweep.launch.slurm_config import SlurmConfig

store_once("hydra/launcher", "slurm", SlurmConfig)


class SlurmLauncher(Launcher):
    """Entry point to `hrm_sweep.launch.slurm`, which has all that `Slots` asks for."""

    def __init__(self, **config: Any) -> None:
        self._config = SlurmConfig(**config)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Make the slots.

        Raises:
            ConfigError: a setting is out of its range.
        """
        from hrm_sweep.launch.slurm import SlurmSlots

        self._config.check_settings()
        study = Path(str(config.hydra.sweep.dir))
        self._slots = SlurmSlots(self._config, study, (hydra_context, config, task_function))

    def __getattr__(self, name: str) -> Any:
        """Pass on what `Slots` and `Outliving` ask for."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._slots, name)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run all jobs and return their results in order, for sweepers other than ours."""
        from hrm_sweep.launch.rolling import launch

        return launch(self._slots, job_overrides, initial_job_idx)
