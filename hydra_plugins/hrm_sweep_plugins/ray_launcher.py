"""`hydra/launcher=ray`: jobs on the nodes of a Ray cluster."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hrm_sweep.compat.hydra import store_once
from hrm_sweep.launch.ray_config import RayConfig

if TYPE_CHECKING:
    from hrm_sweep.launch.ray import RayJobs

store_once("hydra/launcher", "ray", RayConfig)


class RayLauncher(Launcher):
    """Slots on a Ray cluster; see `Slots` for the contract."""

    def __init__(self, **config: Any) -> None:
        from hrm_sweep.runs.questions import Questions

        self._config = RayConfig(**config)
        self.questions = Questions()
        self._num_jobs = 1
        self._jobs: RayJobs | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what the jobs need.

        Raises:
            ConfigError: a setting is out of its range.
            InputError: Ray is not installed, or trials would lie out of their study's folder.
        """
        from hrm_sweep.engine.limits import check_limits
        from hrm_sweep.errors import ConfigError, InputError
        from hrm_sweep.launch.large_files import check_artifacts
        from hrm_sweep.launch.remote_jobs import check_subdir

        try:
            check_limits(vars(self._config))
            self._config.check_settings()
            check_artifacts(self._config.artifacts)
        except ConfigError as error:
            raise error.below("hydra.launcher") from None
        check_subdir(config)
        if find_spec("ray") is None:
            raise InputError(
                "hydra/launcher=ray: Ray is not installed; pip install 'hrm-sweep[ray]'"
            )
        self._job = hydra_context, config, task_function

    @property
    def num_slots(self) -> int:
        """Jobs that have room on the nodes that are there now; at least one, which waits."""
        room = self._jobs.room if self._jobs else self._config.workers or 1
        return max(1, min(room, self._num_jobs))

    @property
    def num_ahead(self) -> int:
        """Jobs beyond `num_slots` that may wait for room."""
        return self.num_slots

    def start(self, *, num_jobs: int) -> None:
        """Join the cluster, or start one.

        Raises:
            ConfigError: there is none, or none of its nodes has what a job demands.
        """
        from hrm_sweep.launch.ray import RayJobs

        self._num_jobs = num_jobs
        if num_jobs:
            self._jobs = RayJobs(self._config, self._job, self.questions)

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[JobReturn]:
        """Run one job as soon as a node has room."""
        assert self._jobs is not None
        return self._jobs.submit(overrides, job_idx)

    def flush(self, watch: Callable[[], None] | None = None) -> None:  # noqa: ARG002
        """Check that nodes can run jobs, which start as they are submitted.

        Args:
            watch: not called, as this does not block.

        Raises:
            NoWorkers: they cannot.
        """
        if self._jobs is not None:
            self._jobs.check()

    def answer(self, number: int, step: int, prune: str) -> None:
        """Answer a job that waits."""
        if self._jobs is not None:
            self._jobs.answer(number, step, prune)

    def ask_to_stop(self) -> None:
        """Ask running jobs to end at their next report."""
        if self._jobs is not None:
            self._jobs.ask_to_stop()

    def close(self) -> None:
        """End the jobs, and leave the cluster."""
        if self._jobs is not None:
            self._jobs.close()
            self._jobs = None

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run all jobs and return their results in order, for sweepers other than ours."""
        from hrm_sweep.launch import rolling

        return rolling.launch(self, job_overrides, initial_job_idx)
