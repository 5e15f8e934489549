"""`hydra/launcher=pool`: jobs in warm local processes."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.hrm_sweep_plugins import _configs  # noqa: F401 - registers hydra/launcher=pool

if TYPE_CHECKING:
    from hrm_sweep.launch.pool import Pool


class PoolLauncher(Launcher):
    """Runs jobs in a pool of processes that live as long as the sweep."""

    def __init__(
        self, workers: int | None, threads: int, timeout: float | None, preload: Sequence[str]
    ) -> None:
        from hrm_sweep.runtime import usable_cores

        self.num_slots = workers or usable_cores()
        self._threads, self._timeout, self._preload = threads, timeout, list(preload)
        self._pool: Pool | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._job = hydra_context, config, task_function

    def start(self) -> "Pool":
        """Starts the processes, on first use."""
        from hrm_sweep.launch.pool import Pool

        if self._pool is None:
            self._pool = Pool(
                workers=self.num_slots,
                threads=self._threads,
                preload=self._preload,
                timeout=self._timeout,
                job=self._job,
            )
        return self._pool

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[JobReturn]:
        """Runs one job as soon as a process is free."""
        return self.start().submit(overrides, job_idx)

    def flush(self) -> None:
        """Jobs start as they are submitted; there is nothing to send off."""

    def ask_to_stop(self) -> None:
        """Asks running jobs to end at their next report."""
        if self._pool is not None:
            self._pool.ask_to_stop()

    def close(self) -> None:
        """Ends the processes."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Hydra's own way in: all jobs, results in their order. For sweepers other than ours."""
        try:
            futures = [
                self.submit(overrides, initial_job_idx + index)
                for index, overrides in enumerate(job_overrides)
            ]
            return [future.result() for future in futures]
        finally:
            self.close()
