"""Outcome of a trial whose record has none: it ended before its record began, or was cut off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.errors import BatchLost, Interrupted, TimedOut, WorkerDied
from hrm_sweep.runs.handle import STOPPED_BY_FAULT, session
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.system import machine


def ending(trial: TrialProgress, future: Future[Any]) -> tuple[Outcome, str]:
    """Return outcome and reason of a trial from what became of its job.

    Args:
        trial: has no outcome in its record.
        future: of the job; it is done. See `Slots.submit` for what it may raise.
    """
    error = future.exception()
    if isinstance(error, TimedOut):
        return Outcome.TIMED_OUT, str(error)
    if isinstance(error, Interrupted) or (isinstance(error, BatchLost) and not trial.has_begun):
        return Outcome.INTERRUPTED, str(error)
    if fault := machine.fault_of(error or _raised(future.result())):
        return Outcome.INTERRUPTED, f"{STOPPED_BY_FAULT}{fault}"
    if isinstance(error, (WorkerDied, BatchLost)):
        return Outcome.KILLED, str(error)
    if error is not None and trial.has_begun:
        return Outcome.KILLED, _describe(error)
    return Outcome.FAILED, _describe(error or future.result())


def write_missing_record(
    trial: TrialProgress, tags: Mapping[str, str], overrides: Sequence[str]
) -> None:
    """Write the record of a trial that ended before it had one.

    The study's folder then has every trial that Optuna has.

    Args:
        tags: of each trial of the study.
    """
    assert trial.outcome is not None
    if trial.folder.is_symlink():
        return  # nothing is written through a link, and the trial's reason says so
    with session(
        trial.folder,
        kind="trial",
        name=f"{trial.number} {formatting.format_point(trial.params)}".strip(),
        params=dict(trial.params),
        overrides=[*overrides],
        tags={
            **tags,
            "hrm_sweep.trial": str(trial.number),
            "hrm_sweep.folder": str(trial.folder),
        },
        description="",
    ) as run:
        run.set_outcome(trial.outcome, trial.reason)
    trial.has_begun = True


def _raised(returned: Any) -> Exception | None:
    """Return what the task raised, from the `JobReturn` that holds it."""
    try:
        with redirect_stderr(StringIO()):  # Hydra prints there before it raises
            returned.return_value  # noqa: B018
    except Exception as error:
        return error
    return None


def _describe(failure: Any) -> str:
    """Return the exception of a job, or of the `JobReturn` that holds one, in one line."""
    if not isinstance(failure, BaseException):
        raised = _raised(failure)
        if raised is None:
            return f"it returned {failure.return_value!r} and left no record"
        failure = raised
    return " ".join(f"{type(failure).__name__}: {failure}".split())
