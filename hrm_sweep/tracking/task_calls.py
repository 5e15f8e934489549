"""MLflow calls of the task itself: they go to the same place as the runs that we export.

A task that calls `mlflow.start_run()`, or whose library does, lands in our MLflow and experiment,
and its runs become children of the trial's: see `run_context.py`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from hrm_sweep.runs.handle import RunHandle
from hrm_sweep.system.process import variables_set
from hrm_sweep.tracking.store import resolve_uri

URI, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
EXPERIMENT_ID = "MLFLOW_EXPERIMENT_ID"


@dataclass(frozen=True)
class Tracking:
    """Where runs are exported to, as a job needs to know it."""

    uri: str = field(repr=False)
    """Absolute address; it may hold a password."""
    experiment: str
    given_uri: str | None = field(default=None, repr=False)
    """The address in the environment of the sweep, which may be relative to its folder."""

    @classmethod
    def at(cls, uri: str | None, experiment: str) -> Tracking:
        """Return the place that a config names; see `resolve_uri`.

        Raises:
            TrackingError: MLflow cannot keep runs at the address.
        """
        return cls(resolve_uri(uri), experiment, os.environ.get(URI))

    def variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return what MLflow has to find in the environment of a job.

        What the user has set there, in the shell or by `hydra.job.env_set`, is left alone: another
        address, and the experiment.
        """
        address = self.address(environment)
        is_chosen = environment.get(EXPERIMENT) or environment.get(EXPERIMENT_ID)
        return address | ({EXPERIMENT: self.experiment} if address and not is_chosen else {})

    def address(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variable with the address, which libraries read when they are imported."""
        is_ours = (environment.get(URI) or self.uri) in (self.uri, self.given_uri)
        return {URI: self.uri} if is_ours else {}


@contextmanager
def joined(tracking: Tracking | None, handle: RunHandle) -> Iterator[None]:
    """Let MLflow calls in the block join the export of the handle's run.

    A run that the block leaves open is ended, so that the next job of the process has its own.
    """
    if tracking is None:
        yield
        return
    handle.mlflow_uri = tracking.uri
    with variables_set(tracking.variables(os.environ)), _ended_runs():
        yield


@contextmanager
def _ended_runs() -> Iterator[None]:
    """End the runs that the block leaves open in MLflow, which is not imported for that."""
    open_before, status = _open_run(), "FAILED"
    try:
        yield
        status = "FINISHED"
    finally:
        while _open_run() not in (None, open_before):
            try:
                sys.modules["mlflow"].end_run(status)
            except Exception as error:  # whatever fails there, the job has ended as it has
                logging.getLogger(__name__).warning("a run stays open in MLflow: %s", error)


def _open_run() -> str | None:
    """Return the id of the run that this thread has open, None if it has none."""
    active_run = getattr(sys.modules.get("mlflow"), "active_run", None)
    active = active_run() if active_run else None
    return active.info.run_id if active else None
