"""`hydra/launcher=pool`: jobs in warm local processes."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hrm_sweep.compat.hydra import store_once
from hrm_sweep.engine.plugin_config import PoolConfig

if TYPE_CHECKING:
    from hrm_sweep.launch.pool import Pool


store_once("hydra/launcher", "pool", PoolConfig)


class PoolLauncher(Launcher):
    """Slots in a pool of processes that live as long as the sweep; see `Slots` for the contract."""

    def __init__(self, **config: Any) -> None:
        from hrm_sweep.runs.questions import Questions
        from hrm_sweep.system.process import usable_cores

        self._config = PoolConfig(**config)
        self._most = self.num_slots = self._config.workers or usable_cores()
        self.threads, self.questions = self._config.threads, Questions()
        self._pool: Pool | None = None
        self._is_stopping = False

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what the workers need.

        Raises:
            ConfigError: a setting is out of its range.
        """
        self._config.check_settings()
        self._job = hydra_context, config, task_function

    @property
    def num_ahead(self) -> int:
        """Jobs beyond `num_slots` that may wait for a process."""
        return 2 * self.num_slots

    def start(self, *, num_jobs: int) -> None:
        """Start processes before the first job is there, no more of them than there are jobs."""
        self.num_slots = max(1, min(self._most, num_jobs))
        if num_jobs:
            self._started()

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[JobReturn]:
        """Run one job as soon as a process is free."""
        return self._started().submit(overrides, job_idx)

    def flush(self, watch: Callable[[], None] | None = None) -> None:  # noqa: ARG002
        """Check that jobs, which start as they are submitted, have processes to run in.

        Args:
            watch: not called, as this does not block.

        Raises:
            NoWorkers: they have none.
        """
        from hrm_sweep.errors import NoWorkers

        if self._pool is None or (left := self._pool.num_slots) == self.num_slots:
            return
        if left == 0 and not self._is_stopping:
            raise NoWorkers(f"no worker can start: {self._pool.trouble}")
        print(f"{left} of {self.num_slots} workers are left: {self._pool.trouble}")
        self.num_slots = left

    def answer(self, number: int, step: int, prune: str) -> None:  # noqa: ARG002
        """Answer a job that waits."""
        if self._pool is not None:
            self._pool.answer(number, prune)

    def ask_to_stop(self) -> None:
        """Ask running jobs to end at their next report."""
        self._is_stopping = True
        if self._pool is not None:
            self._pool.ask_to_stop()

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _started(self) -> "Pool":
        from hrm_sweep.launch.pool import Pool

        if self._pool is None:
            self._pool = Pool(
                workers=self.num_slots,
                threads=self._config.threads,
                preload=self._config.preload,
                may_fork=self._config.start_method == "auto",
                timeout=self._config.timeout,
                job=self._job,
                questions=self.questions,
            )
        return self._pool

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run all jobs and return their results in order, for sweepers other than ours."""
        from hrm_sweep.launch.rolling import launch

        return launch(self, job_overrides, initial_job_idx)
