"""A launcher of single jobs as Hydra's other sweepers use one: all jobs of a batch, then return."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import wait
from typing import Any

from hydra.core.utils import JobReturn

SECONDS_BETWEEN_CHECKS = 1.0


def launch(
    launcher: Any, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
) -> Sequence[JobReturn]:
    """Run all jobs and return their results in order.

    Args:
        launcher: has `Slots`' methods, and `start`.
    """
    launcher.start(num_jobs=len(job_overrides))
    try:
        futures = [
            launcher.submit(overrides, initial_job_idx + index)
            for index, overrides in enumerate(job_overrides)
        ]
        while wait(futures, SECONDS_BETWEEN_CHECKS).not_done:
            launcher.flush()
        return [future.result() for future in futures]
    finally:
        launcher.close()
